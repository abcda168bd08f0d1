"""Cross entropy with class weights that come from each image."""

import torch.nn.functional as F
from torch import Tensor, nn

from loss.class_weights import check_bound, class_weights, count_classes
from loss.pixelwise import at_label_size, pixel_cross_entropy, without_autocast


class ImageWeightedCrossEntropy(nn.Module):
    """Per image the mean of the cross entropy, weighted by w_c = 1 + upper_bound x (1 - h_c); the mean over images.

    h_c is class c's share of the image's labelled pixels. An image without any counts as 0.

    Args:
        num_classes: classes of the logits.
        ignore_label: label of the pixels that do not count.
        upper_bound: what a vanishingly rare class weighs above 1.
        batch_weighting: take the shares h over the batch instead of over each image.

    Raises:
        ValueError: a negative upper bound.
    """

    def __init__(
        self, num_classes: int, ignore_label: int = 255, upper_bound: float = 1.0, batch_weighting: bool = False
    ) -> None:
        super().__init__()
        check_bound(upper_bound)
        self.num_classes = num_classes
        self.ignore_label = ignore_label
        self.upper_bound = upper_bound
        self.batch_weighting = batch_weighting

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Scalar loss of logits (N,C,h,w), at any stride, for labels (N,H,W) int64."""
        with without_autocast(logits):
            logits = at_label_size(logits, labels)
            cross_entropy = pixel_cross_entropy(logits, labels, self.ignore_label).flatten(1)
            weight = self.pixel_weights(labels, cross_entropy)
            # an image's weights sum to 1 at least as soon as one pixel counts
            per_image = (weight * cross_entropy).sum(1) / weight.sum(1).clamp(min=1)
            return per_image.mean()

    def pixel_weights(self, labels: Tensor, like: Tensor) -> Tensor:
        """Weight of every pixel, (N, H*W) in the type of `like`, 0 where the label is ignored."""
        extra_class = self.num_classes
        labels = labels.long().masked_fill(labels == self.ignore_label, extra_class)
        counts = count_classes(labels, extra_class + 1)[:, :extra_class]
        if self.batch_weighting:
            counts = counts.sum(0, keepdim=True).expand_as(counts)
        weights = class_weights(counts, self.upper_bound, like.dtype)
        return F.pad(weights, (0, 1)).gather(1, labels.flatten(1))  # the extra class weighs nothing
