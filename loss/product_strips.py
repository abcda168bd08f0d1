"""The walk over strips of `loss.fused` for logits of half precision: enlarging and its gradient are matrix products.

It takes a fourth of the time of the walk by lines, whose bits float32 runs depend on. All is float32 inside.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from utils.resizing import resize

STRIP_BYTES = 1 << 20  # of upsampled logits, as in `loss.fused`
STEEPEST = 80.0  # nats; exp(-80) is a normal number in float32
DEAREST = 128  # multiply-adds of the product along a line, for each upsampled logit


def suits(logits: Tensor, height: int) -> bool:
    """Whether this walk is the faster one and a right one for logits (N,C,h,w) of labels with so many rows.

    Right: each logit is so near to its pixel's largest that no exponential vanishes. A nan isn't.
    """
    cheap = logits.shape[2] * logits.shape[3] <= DEAREST * height
    return cheap and bool(((logits.amax(1) - logits.amin(1)) < STEEPEST).all())


@dataclass
class _Strip:
    """Some rows of the upsampled map, and the source rows that they are made of."""

    rows: slice
    sources: slice
    weights: Tensor  # (source rows, rows)


def _strips(height: int, weights: Tensor, count: int) -> Iterator[_Strip]:
    for start in range(0, height, count):
        rows = slice(start, min(start + count, height))
        used = weights[:, rows].any(1).nonzero()
        sources = slice(int(used[0]), int(used[-1]) + 1)
        yield _Strip(rows, sources, weights[sources, rows])


def walk(
    logits: Tensor,
    classes: Tensor,
    valid: Tensor,
    values: Tensor,
    gradient: Tensor | None,
    limit: float,
    class_weights: Tensor | None = None,
) -> None:
    """As `loss.fused.walk`, for logits that it suits.

    The largest logit of each source pixel is subtracted first: no upsampled one is above 0 then, and e to the power of
    it needs no search for the largest of each pixel.
    """
    (n, channels, *source), (height, width) = logits.shape, classes.shape[1:]
    lines = ((logits - logits.amax(1, keepdim=True)) * math.log2(math.e)).transpose(1, 2).contiguous()  # (N,h,C,w)
    of_rows, columns = (_weights(*sides, logits) for sides in zip(source, (height, width), strict=True))
    count = max(1, STRIP_BYTES // (channels * width * logits.element_size()))
    strips = list(_strips(height, of_rows, count))
    for i in range(n):
        for strip in strips:
            wide = lines[i, strip.sources].view(-1, source[1]) @ columns
            power = (strip.weights.T @ wide.view(-1, channels * width)).exp2_().view(-1, channels, width)
            total, index, mask = power.sum(1), classes[i, strip.rows].unsqueeze(1), valid[i, strip.rows]
            value = torch.div(total, power.gather(1, index).squeeze(1), out=values[i, strip.rows])
            value.log_().masked_fill_(~mask, 0.0)
            if gradient is None:
                continue
            kept = (mask & ~(value < limit)).to(power.dtype)
            if class_weights is not None:
                kept.mul_(class_weights[index.squeeze(1)])
            power.mul_((kept / total).unsqueeze(1)).scatter_add_(1, index, kept.neg_().unsqueeze(1))
            narrow = (strip.weights @ power.flatten(1)).view(-1, width) @ columns.T
            gradient[i, :, strip.sources] += narrow.view(-1, channels, source[1]).transpose(0, 1)


def _weights(length: int, resized: int, like: Tensor) -> Tensor:
    """(length, resized): how much of pixel i is in pixel j of a resized line."""
    identity = torch.eye(length, dtype=like.dtype, device=like.device)
    return resize(identity[None, None], (length, resized))[0, 0]
