"""Plain cross entropy."""

import math

from torch import Tensor, nn

from loss.fused import upsampled_cross_entropy
from loss.pixelwise import as_precise, at_label_size, masked_mean, pixel_cross_entropy, without_autocast


class CrossEntropy(nn.Module):
    """Mean cross entropy over the labelled pixels of the batch; 0 with a graph where there are none.

    Args:
        ignore_label: label of the pixels that do not count.
    """

    def __init__(self, ignore_label: int = 255) -> None:
        super().__init__()
        self.ignore_label = ignore_label

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Scalar loss of logits (N,C,h,w), at any stride, for labels (N,H,W) int64."""
        with without_autocast(logits):
            if logits.device.type == "cpu":
                return upsampled_cross_entropy(as_precise(logits, labels), labels, self.ignore_label, -math.inf)
            logits = at_label_size(logits, labels)
            cross_entropy = pixel_cross_entropy(logits, labels, self.ignore_label)
            return masked_mean(cross_entropy, labels != self.ignore_label)
