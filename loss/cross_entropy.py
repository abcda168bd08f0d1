"""Plain cross entropy."""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from loss.fused import upsampled_cross_entropy
from loss.pixelwise import register_weights, without_autocast
from loss.whole_maps import whole_cross_entropy


class CrossEntropy(nn.Module):
    """Mean cross entropy over the labelled pixels of the batch; 0 with a graph where there are none.

    Args:
        ignore_label: label of the pixels that do not count.
        class_weights: of the classes; the mean is weighted, divided by the sum of its pixels' weights. None: all 1.
    """

    def __init__(self, ignore_label: int = 255, class_weights: Sequence[float] | None = None) -> None:
        super().__init__()
        self.ignore_label = ignore_label
        register_weights(self, class_weights)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Scalar loss of logits (N,C,h,w), at any stride, for labels (N,H,W) int64."""
        with without_autocast(logits):
            if logits.device.type != "cpu":
                return whole_cross_entropy(logits, labels, self.ignore_label, weights=self.class_weights)
            return upsampled_cross_entropy(logits, labels, self.ignore_label, -math.inf, weights=self.class_weights)
