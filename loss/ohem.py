"""Online hard example mining: cross entropy over the pixels that the model is least sure of."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from loss.fused import upsampled_cross_entropy
from loss.pixelwise import register_weights, without_autocast
from loss.whole_maps import whole_cross_entropy


class OhemCrossEntropy(nn.Module):
    """Mean cross entropy over the hard pixels of the batch.

    A pixel is kept where the probability of its true class is at most max(thresh, the min_kept-th smallest such
    probability). With fewer labelled pixels than `min_kept`, or `min_kept` 0, all labelled ones are kept; with none
    the loss is 0 with a graph.

    Args:
        thresh: probability of the true class up to which a pixel is hard, in (0, 1].
        min_kept: pixels of the batch (of this process) that are kept at least.
        ignore_label: label of the pixels that do not count.
        class_weights: of the classes: the mean over the hard pixels, chosen without them, is divided by the sum of
            their weights. None: all 1.

    Raises:
        ValueError: a threshold or a number of pixels that cannot work.

    Source:
        Shrivastava et al., Training Region-based Object Detectors with Online Hard Example Mining, CVPR 2016; the
        per-pixel form with a probability threshold as the SFNet family trains with it.
    """

    def __init__(
        self,
        thresh: float = 0.7,
        min_kept: int = 100_000,
        ignore_label: int = 255,
        class_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if not 0 < thresh <= 1:
            raise ValueError(f"thresh is {thresh}; it is a probability: give a value in (0, 1]")
        if min_kept < 0:
            raise ValueError(f"min_kept is {min_kept}; give 0 (keeps all) or more")
        self.thresh = thresh
        self.min_kept = min_kept
        self.ignore_label = ignore_label
        register_weights(self, class_weights)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Scalar loss of logits (N,C,h,w), at any stride, for labels (N,H,W) int64."""
        with without_autocast(logits):
            if logits.device.type != "cpu":
                return whole_cross_entropy(logits, labels, self.ignore_label, self.hard_pixels, self.class_weights)
            guess = -math.log(self.thresh) if 0 < self.min_kept <= labels.numel() else -math.inf
            limit, weights = self._limit_by_counting, self.class_weights
            return upsampled_cross_entropy(logits, labels, self.ignore_label, guess, limit, weights)

    def _limit_by_counting(self, cross_entropy: Tensor, valid: Tensor) -> float:
        """The cross entropy from which on a pixel is hard, by counting first and selecting only if that fails.

        Counting costs a tenth of selecting, and from random weights on it nearly always settles the matter.
        """
        if not 0 < self.min_kept <= valid.numel():
            return -math.inf
        guess = -math.log(self.thresh)
        if int((cross_entropy >= guess).sum()) >= self.min_kept:
            return guess
        limit = cross_entropy.flatten().kthvalue(valid.numel() - self.min_kept + 1).values.item()
        return limit if limit > 0 else -math.inf  # ignored pixels count as 0: with too few others, all are kept

    def hard_pixels(self, cross_entropy: Tensor, valid: Tensor) -> Tensor:
        """Mask (N,H,W) of the pixels that are kept, from each one's cross entropy (0 where ignored) and validity.

        By selecting alone, without a host sync: for accelerators, where selecting is cheap and a sync is not.
        """
        if not 0 < self.min_kept <= valid.numel():
            return valid
        # topk, since CUDA's kthvalue is not deterministic
        largest = torch.topk(cross_entropy.flatten(), self.min_kept, sorted=False).values
        # ignored pixels count as 0: with too few others, all are kept. A NaN is below nothing, so it is kept: a broken
        # model shows in the loss instead of being mined away
        return valid & ~(cross_entropy < largest.amin().clamp(max=-math.log(self.thresh)))
