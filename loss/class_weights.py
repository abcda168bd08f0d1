"""Class weights from how much of an image each class covers; both per-image criteria use them."""

import torch
from torch import Tensor


def count_classes(labels: Tensor, num_classes: int) -> Tensor:
    """Pixels of each class per image, (N, num_classes) int64, for labels (N,H,W) of 0..num_classes-1.

    A scatter rather than `bincount`, which makes a GPU's host wait to learn how long its result is.
    """
    images = torch.arange(labels.shape[0], device=labels.device).view(-1, 1, 1)
    index = (labels.long() + images * num_classes).flatten()
    counts = torch.zeros(labels.shape[0] * num_classes, dtype=torch.int64, device=labels.device)
    return counts.scatter_add_(0, index, torch.ones_like(index)).view(-1, num_classes)


def check_bound(upper_bound: float) -> None:
    """Raises `ValueError` for a bound that would give a class a negative weight."""
    if upper_bound < 0:
        raise ValueError(f"upper_bound is {upper_bound}; give 0 or more")


def class_weights(counts: Tensor, upper_bound: float, dtype: torch.dtype) -> Tensor:
    """w_c = 1 + upper_bound x (1 - h_c) for a class that is present, else 1; h_c its share of the row's sum.

    Args:
        counts: (N,C) int64, one row an image.

    Returns:
        (N,C) weights of type `dtype`, all 1 in a row without any pixel.
    """
    share = counts.to(dtype) / counts.sum(1, keepdim=True).clamp(min=1)
    return torch.where(counts > 0, 1 + upper_bound * (1 - share), 1.0)
