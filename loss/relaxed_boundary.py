"""Boundary label relaxation: near a boundary any of the classes around counts as right."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from loss.class_weights import check_bound, class_weights
from loss.pixelwise import at_label_size, without_autocast


class RelaxedBoundaryLoss(nn.Module):
    """Negative log of the probability that a pixel is of any class within its window, weighted by class shares.

    With p = softmax, m the set of classes within the (2 x border + 1)-square window and s the sum of p over m, a
    pixel's loss is -log(s) x the mean over m of w_c = 1 + upper_bound x (1 - h_c), h_c being class c's share of the
    sum of all sets. Ignored pixels and the outside of the image are one extra class, which belongs to the sets and to
    the shares but neither to s nor to the mean; a pixel whose set has nothing else is ignored. Per image the sum is
    divided by (pixels - ignored + 1); the batch's loss is the mean over images.

    Args:
        num_classes: classes of the logits.
        ignore_label: label of the pixels that are unknown.
        border: pixels that the window reaches to each side.
        upper_bound: what a vanishingly rare class weighs above 1.
        strict_classes: classes whose own pixels are not relaxed: they keep their single class.

    Raises:
        ValueError: a strict class, a border or an upper bound that cannot work.

    Source:
        Zhu et al., Improving Semantic Segmentation via Video Propagation and Label Relaxation, CVPR 2019, section 3.3;
        the class weights are the SFNet family's.
    """

    def __init__(
        self,
        num_classes: int,
        ignore_label: int = 255,
        border: int = 1,
        upper_bound: float = 1.0,
        strict_classes: Sequence[int] = (),
    ) -> None:
        super().__init__()
        unknown = [c for c in strict_classes if not 0 <= c < num_classes]
        if unknown:
            raise ValueError(f"strict class {unknown[0]} is not one of 0..{num_classes - 1}")
        if border < 0:
            raise ValueError(f"border is {border} pixels; give 0 or more")
        check_bound(upper_bound)
        self.num_classes = num_classes
        self.ignore_label = ignore_label
        self.border = border
        self.upper_bound = upper_bound
        self.strict_classes = tuple(strict_classes)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Scalar loss of logits (N,C,h,w), at any stride, for labels (N,H,W) int64."""
        with without_autocast(logits):
            logits = at_label_size(logits, labels)
            target = self.relaxed_target(labels)
            weights = class_weights(target.sum((2, 3)), self.upper_bound, logits.dtype)
            classes = target[:, :-1]
            in_set = classes.sum(1)
            counted = in_set > 0
            mean_weight = torch.einsum("nchw,nc->nhw", classes.to(logits.dtype), weights[:, :-1]) / in_set.clamp(min=1)
            # a pixel without any class gets all of them: log(s) = 0 with a zero gradient instead of a NaN
            outside = ~classes & counted.unsqueeze(1)
            log_s = logits.masked_fill(outside, -torch.inf).logsumexp(1) - logits.logsumexp(1)
            pixel_loss = (-log_s * mean_weight).where(counted, 0.0)
            return (pixel_loss.sum((1, 2)) / (counted.sum((1, 2)) + 1)).mean()

    def relaxed_target(self, labels: Tensor) -> Tensor:
        """The sets m as a mask, (N, num_classes + 1, H, W) bool; the last channel is the extra class."""
        b, extra_class = self.border, self.num_classes
        labels = labels.masked_fill(labels == self.ignore_label, extra_class)
        padded = F.pad(labels, (b, b, b, b), value=extra_class)
        names = torch.arange(extra_class + 1, device=labels.device, dtype=labels.dtype).view(1, -1, 1, 1)
        one_hot = padded.unsqueeze(1) == names
        target = _any_in_window(_any_in_window(one_hot, 2 * b + 1, 2), 2 * b + 1, 3)
        if self.strict_classes:
            strict = torch.stack([labels == name for name in self.strict_classes]).any(0)
            height, width = labels.shape[1:]
            target = torch.where(strict.unsqueeze(1), one_hot[:, :, b : b + height, b : b + width], target)
        return target


def _any_in_window(mask: Tensor, window: int, dim: int) -> Tensor:
    """Whether anything is set in each run of `window` elements along `dim`, which gets shorter by window - 1."""
    length = mask.shape[dim] - window + 1
    found = mask.narrow(dim, 0, length).clone()
    for start in range(1, window):
        found |= mask.narrow(dim, start, length)
    return found
