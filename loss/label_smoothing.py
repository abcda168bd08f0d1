"""Label smoothing as a term beside cross entropy.

Source: Szegedy et al., Rethinking the Inception Architecture, CVPR 2016, section 7.
"""

from torch import Tensor, nn

from loss.pixelwise import at_label_size, masked_mean, without_autocast


class LabelSmoothing(nn.Module):
    """Mean over labelled pixels of what a uniform label's cross entropy has above the true label's.

    Cross entropy plus e times this is the cross entropy to labels of 1 - e at the true class and e spread over all.

    Args:
        ignore_label: Label of the pixels that don't count.
    """

    def __init__(self, ignore_label: int = 255) -> None:
        super().__init__()
        self.ignore_label = ignore_label

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Scalar loss of logits (N,C,h,w), at any stride, for labels (N,H,W) int64."""
        with without_autocast(logits):
            logits = at_label_size(logits, labels)
            valid = labels != self.ignore_label
            true = logits.gather(1, labels.where(valid, 0).unsqueeze(1)).squeeze(1)
            return masked_mean(true - logits.mean(1), valid)
