"""What losses that stand beside another one start from."""

from abc import abstractmethod

from torch import Tensor, nn

from loss.pixelwise import at_label_size, without_autocast


class AddedLoss(nn.Module):
    """A term of the main output, in float32, at the labels' size.

    Args:
        ignore_label: Label of the pixels that don't count.
    """

    def __init__(self, ignore_label: int = 255) -> None:
        super().__init__()
        self.ignore_label = ignore_label

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Scalar loss of logits (N,C,h,w), at any stride, for labels (N,H,W) int64."""
        with without_autocast(logits):
            return self.of_pixels(at_label_size(logits, labels), labels, labels != self.ignore_label)

    @abstractmethod
    def of_pixels(self, logits: Tensor, labels: Tensor, valid: Tensor) -> Tensor:
        """Scalar loss of logits (N,C,H,W) for labels (N,H,W) where `valid`, bool (N,H,W)."""
