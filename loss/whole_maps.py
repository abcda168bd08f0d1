"""Cross entropy of whole maps for accelerators: few passes over memory, no host sync, nothing large kept.

Logits of half precision are upsampled in it; softmax is float32 inside. The gradient is made in the forward pass, so
that what stays for the backward pass is of the logits' own size. Every operator has a deterministic form.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from loss.pixelwise import check_shapes, masked_mean, wants_gradient, weighted_mean, with_gradient
from utils.resizing import resize, shrink

# cross entropy (N,H,W), float32 at least, and validity of all pixels -> mask of those that count
Choose = Callable[[Tensor, Tensor], Tensor]

_NAMES = torch.int16  # of classes where they are compared; int64 would be read and written in four times the bytes


def whole_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    ignore_label: int,
    choose: Choose | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Mean cross entropy over the chosen pixels, in float32 at least; 0 with a graph where none is.

    Args:
        logits: (N,C,h,w) of any stride and precision; upsampled bilinearly, align_corners=True.
        labels: (N,H,W) int64 of 0..C-1 and `ignore_label`.
        ignore_label: Label of the pixels that don't count.
        choose: Says which pixels count; None: all that are labelled.
        weights: Of the classes, (C,): the mean is divided by the sum of the pixels' weights; None: all 1.

    Raises:
        ValueError: The two shapes don't belong together.
    """
    check_shapes(logits, labels)
    with torch.no_grad():
        ignored = labels == ignore_label
        log_prob = _log_probability(logits, labels.shape[1:])
        chosen = log_prob.gather(1, labels.masked_fill(ignored, 0).unsqueeze(1)).squeeze(1)
        precise = torch.promote_types(chosen.dtype, torch.float32)
        values = torch.mul(chosen, -1, out=chosen.new_empty(chosen.shape, dtype=precise))
        values.masked_fill_(ignored, 0.0)
        kept = ~ignored if choose is None else choose(values, ~ignored)
        if weights is None:
            loss, count = masked_mean(values, kept), kept.sum().clamp(min=1)
        else:
            of_pixels = weights.to(precise)[labels.masked_fill(ignored, 0)]
            loss, count = weighted_mean(values, of_pixels.masked_fill_(~kept, 0.0))
    if not wants_gradient(logits):
        return loss
    with torch.no_grad():
        gradient = _gradient(log_prob, labels.to(_NAMES).masked_fill_(~kept, -1), logits.shape[2:], weights)
        gradient = gradient.to(loss.dtype) / count.neg()
    return with_gradient(loss, logits, gradient)


def _log_probability(logits: Tensor, size: torch.Size) -> Tensor:
    """(N,C,*size), in the precision of the logits."""
    # with a largest logit of 0 everywhere half precision rounds likely classes least; the softmax doesn't change.
    # Contiguous, as CUDA's softmax over channels would copy the upsampled map otherwise
    level = torch.sub(logits, logits.amax(1, keepdim=True), out=logits.new_empty(logits.shape))
    return (level if level.shape[2:] == size else resize(level, size)).log_softmax(1)


def _gradient(log_prob: Tensor, labels: Tensor, size: torch.Size, weights: Tensor | None) -> Tensor:
    """Minus that of the weighted sum of cross entropies, by the logits (N,C,*size); pixels of label -1 don't count."""
    names = torch.arange(log_prob.shape[1], device=log_prob.device, dtype=labels.dtype).view(-1, 1, 1)
    target = torch.eq(labels.unsqueeze(1), names, out=torch.empty_like(log_prob))
    if weights is not None:
        target.mul_(weights.to(target.dtype).view(-1, 1, 1))
    up = torch.ops.aten._log_softmax_backward_data(target, log_prob, 1, log_prob.dtype)
    return up if up.shape[2:] == size else shrink(up, size, channels_last=False)
