"""Upsampling, cross entropy and the choice of hard pixels as one operation, strip by strip, for a CPU.

The upsampled logits (N,C,H,W) never exist as a whole, and the gradient with respect to the logits as they came is made
in the forward pass, while a strip is in the cache. What stays is one value per pixel and a gradient of the logits' own
size.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from loss import product_strips
from loss.pixelwise import as_precise, wants_gradient, weighted_mean, with_gradient
from utils.resizing import HALF, resize

STRIP_BYTES = 1 << 20  # of upsampled logits; half of a usual second-level cache

# cross entropy (N,H,W) and validity of all pixels -> the cross entropy from which on a pixel counts
Limit = Callable[[Tensor, Tensor], float]


def upsampled_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    ignore_label: int,
    guess: float,
    limit: Limit | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Mean cross entropy over the pixels with a cross entropy of at least a limit; 0 with a graph without any.

    Args:
        logits: (N,C,h,w) of any stride and precision; upsampled bilinearly, align_corners=True, in float32 at least.
        labels: (N,H,W) int64 of 0..C-1 and `ignore_label`.
        ignore_label: label of the pixels that do not count.
        guess: the limit that is most likely, in nats; if it is right, one pass over the strips is enough.
        limit: says the limit once the cross entropy of all pixels is known; None: `guess`.
        weights: of the classes, (C,): the mean is divided by the sum of the pixels' weights; None: all 1.

    Raises:
        ValueError: the two shapes do not belong together.
    """
    scores = as_precise(logits.detach(), labels)
    fill = product_strips.walk if logits.dtype in HALF and product_strips.suits(scores, labels.shape[1]) else walk
    valid = labels != ignore_label
    classes, weights = labels.where(valid, 0), None if weights is None else weights.to(scores.dtype)
    values = scores.new_empty(labels.shape)
    gradient = torch.zeros_like(scores) if wants_gradient(logits) else None
    fill(scores, classes, valid, values, gradient, guess, weights)
    chosen = guess if limit is None else limit(values, valid)
    if chosen != guess and gradient is not None:
        gradient.zero_()
        fill(scores, classes, valid, values, gradient, chosen, weights)
    kept = valid & ~(values < chosen)
    if weights is None:
        count = kept.sum().clamp(min=1)
        loss = values.where(kept, 0.0).sum() / count
    else:
        loss, count = weighted_mean(values, weights[classes].where(kept, 0.0))
    return loss if gradient is None else with_gradient(loss, logits, gradient.div_(count))


@dataclass
class _Strip:
    """Some rows of the upsampled map, and the two source rows that each of them lies between."""

    rows: slice
    upper: Tensor
    lower: Tensor
    share: Tensor  # of the lower one


def _strips(logits: Tensor, height: int, width: int) -> Iterator[_Strip]:
    n, channels, source, _ = logits.shape
    count = max(1, STRIP_BYTES // (n * channels * width * logits.element_size()))
    scale = (source - 1) / (height - 1) if height > 1 else 0.0
    places = torch.arange(height, dtype=logits.dtype, device=logits.device) * scale
    upper = places.long().clamp(max=source - 1)
    lower = (upper + 1).clamp(max=source - 1)
    share = (places - upper).view(-1, 1)
    for start in range(0, height, count):
        rows = slice(start, min(start + count, height))
        yield _Strip(rows, upper[rows], lower[rows], share[rows])


def walk(
    logits: Tensor,
    classes: Tensor,
    valid: Tensor,
    values: Tensor,
    gradient: Tensor | None,
    limit: float,
    weights: Tensor | None = None,
) -> None:
    """Fill `values` with each pixel's cross entropy (0 where ignored) and add to `gradient` what the kept ones say.

    `weights` (C,) are in the gradient alone.
    """
    height, width = classes.shape[1:]
    for strip in _strips(logits, height, width):
        rows = torch.lerp(logits[:, :, strip.upper], logits[:, :, strip.lower], strip.share)
        up = resize(rows, (rows.shape[2], width))
        log_prob = up.log_softmax(1)
        index = classes[:, strip.rows].unsqueeze(1)
        mask = valid[:, strip.rows]
        value = log_prob.gather(1, index).squeeze(1).neg_().masked_fill_(~mask, 0.0)
        values[:, strip.rows] = value
        if gradient is None:
            continue
        kept = (mask & ~(value < limit)).unsqueeze(1).to(logits.dtype)
        if weights is not None:
            kept.mul_(weights[index])
        partial = log_prob.exp_().scatter_add_(1, index, kept.new_full((1,), -1.0).expand_as(index)).mul_(kept)
        partial = torch.ops.aten.upsample_bilinear2d_backward(partial, up.shape[2:], rows.shape, True)
        gradient.index_add_(2, strip.lower, partial * strip.share)
        gradient.index_add_(2, strip.upper, partial * (1 - strip.share))
