"""The loss of the boundary head."""

import torch
from torch import Tensor, nn

from loss.pixelwise import at_label_size, masked_mean, without_autocast

_EDGE = 1e-6  # probabilities are kept this far from 0 and 1: bounded loss and gradient, also for half-precision heads


class BoundaryLoss(nn.Module):
    """Class-balanced binary cross entropy between a boundary probability and the label map's inner boundary.

    A pixel is a boundary pixel where one of its four neighbours carries another label. Boundary pixels weigh the
    image's share of the others and the other way round; the mean over the counted pixels.

    Args:
        ignore_label: pixels with this label carry no loss and are left out of the shares (an edge towards them is an
            edge all the same); None: every pixel counts.
    """

    def __init__(self, ignore_label: int | None = 255) -> None:
        super().__init__()
        self.ignore_label = ignore_label

    def forward(self, probability: Tensor, labels: Tensor) -> Tensor:
        """Scalar loss of the head's sigmoid output (N,1,h,w) in [0, 1], at any stride, for labels (N,H,W) int64."""
        with without_autocast(probability):
            probability = at_label_size(probability, labels).squeeze(1).clamp(_EDGE, 1 - _EDGE)
            target = inner_boundary(labels)
            valid = torch.ones_like(target) if self.ignore_label is None else labels != self.ignore_label
            boundary_pixels = (target & valid).sum((1, 2), dtype=probability.dtype)
            share = (boundary_pixels / valid.sum((1, 2)).clamp(min=1)).view(-1, 1, 1)
            # written out: PyTorch's own stops the process on a GPU, by an assertion, when a head gives a NaN
            right = torch.where(target, probability, 1 - probability)
            return masked_mean(-torch.where(target, 1 - share, share) * right.log(), valid)


def inner_boundary(labels: Tensor) -> Tensor:
    """Mask (N,H,W) of the pixels with a differently labelled neighbour among their four; outside nothing differs."""
    boundary = torch.zeros_like(labels, dtype=torch.bool)
    below = labels[:, 1:] != labels[:, :-1]
    right = labels[:, :, 1:] != labels[:, :, :-1]
    boundary[:, 1:] |= below
    boundary[:, :-1] |= below
    boundary[:, :, 1:] |= right
    boundary[:, :, :-1] |= right
    return boundary
