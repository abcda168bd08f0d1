"""Score maps (N,C,H,W), changed in place and a part at a time: that of a large image fills much of the memory.

4096x8192 pixels and 19 classes in float32 are 2.5 GB.
"""

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

PART = 2**26  # elements that are handled at once; a smaller map is handled in one piece


def predict_labels(scores: Tensor) -> Tensor:
    """Labels (N,H,W) uint8 of the highest scores (N,C,H,W), on their device; C is at most 256, ties go to the first."""
    n, channels, height, width = scores.shape
    assert channels <= 256
    labels = torch.empty(n, height, width, dtype=torch.uint8, device=scores.device)
    for rows in parts(height, n * channels * width):
        labels[:, rows] = scores[..., rows, :].max(dim=1).indices  # as argmax, in half the time on a CPU
    return labels


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """`x` (N,C,h,w) at `size` (H,W), bilinear with align_corners=True; `x` itself where it has that size."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=True)


def add_resized(total: Tensor | None, x: Tensor, size: Sequence[int]) -> Tensor:
    """Add `x` (N,C,h,w), resized, to `total` (N,C,*size) in place; without a total, `resize` it."""
    n, channels = x.shape[:2]
    if total is None:
        if tuple(x.shape[-2:]) == tuple(size) or n * channels * math.prod(size) <= PART:
            return resize(x, size)
        total = x.new_zeros(n, channels, *size)
    for some in parts(channels, n * math.prod(size)):
        total[:, some] += resize(x[:, some], size)
    return total


def softmax_(scores: Tensor) -> Tensor:
    """Softmax over the classes of (N,C,H,W); it may overwrite `scores`."""
    if scores.numel() <= PART:
        return scores.softmax(dim=1)
    n, channels, height, width = scores.shape
    for rows in parts(height, n * channels * width):
        scores[..., rows, :] = scores[..., rows, :].softmax(dim=1)
    return scores


def parts(length: int, elements: int) -> Iterator[slice]:
    """Cut an axis so that a part has about `PART` elements, where each place on the axis has `elements`."""
    step = max(1, PART // elements)
    return (slice(start, start + step) for start in range(0, length, step))
