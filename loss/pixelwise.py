"""What every criterion starts from: logits at the labels' size, in a precision that a loss needs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from utils.resizing import resize


@contextmanager
def without_autocast(tensor: Tensor) -> Iterator[None]:
    """Switch mixed precision off for the device of `tensor`: sums over a million pixels need float32."""
    with torch.autocast(tensor.device.type, enabled=False):
        yield


def check_shapes(scores: Tensor, labels: Tensor) -> None:
    """Raise ValueError unless scores are (N,C,h,w) and labels (N,H,W) of the same N."""
    if scores.ndim != 4 or labels.ndim != 3 or scores.shape[0] != labels.shape[0]:
        raise ValueError(
            f"expected scores (N,C,h,w) and labels (N,H,W) of the same N, got {tuple(scores.shape)} and "
            f"{tuple(labels.shape)}"
        )


def as_precise(scores: Tensor, labels: Tensor) -> Tensor:
    """Scores (N,C,h,w) in float32 (float64 stays float64), checked to belong to labels (N,H,W).

    Raises:
        ValueError: the two shapes do not belong together.
    """
    check_shapes(scores, labels)
    return scores if scores.dtype == torch.float64 else scores.float()


def at_label_size(scores: Tensor, labels: Tensor) -> Tensor:
    """Upsample (N,C,h,w) scores of any stride to (N,C,H,W) for (N,H,W) labels, in float32 (float64 stays float64).

    Bilinear with align_corners=True, as everywhere in this family.

    Raises:
        ValueError: the two shapes do not belong together.
    """
    scores = as_precise(scores, labels)
    size = (labels.shape[1], labels.shape[2])
    if (scores.shape[2], scores.shape[3]) == size:
        return scores
    return resize(scores, size)


def pixel_cross_entropy(logits: Tensor, labels: Tensor, ignore_label: int) -> Tensor:
    """Cross entropy of every pixel, (N,H,W) in nats, 0 where the label is ignored.

    Args:
        logits: (N,C,H,W), already at the labels' size.
        labels: (N,H,W) int64 of 0..C-1 and `ignore_label`.
    """
    # CUDA's two-dimensional NLL kernel refuses to run under --deterministic, gather does not
    if logits.is_cuda and torch.are_deterministic_algorithms_enabled():
        return gathered_cross_entropy(logits, labels, ignore_label)
    return F.cross_entropy(logits, labels.long(), ignore_index=ignore_label, reduction="none")


def gathered_cross_entropy(logits: Tensor, labels: Tensor, ignore_label: int) -> Tensor:
    """The same as `pixel_cross_entropy`, from operations that CUDA can run deterministically."""
    valid = labels != ignore_label
    true_class = labels.long().where(valid, 0).unsqueeze(1)
    cross_entropy = logits.logsumexp(1) - logits.gather(1, true_class).squeeze(1)
    return cross_entropy.where(valid, 0.0)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` where `mask` is set; 0 with a graph, never NaN, where it is set nowhere."""
    return values.where(mask, 0.0).sum() / mask.sum().clamp(min=1)


def register_weights(criterion: nn.Module, weights: Sequence[float] | None) -> None:
    """Give a criterion its `class_weights` as a buffer: float32 (C,), or None."""
    criterion.register_buffer("class_weights", None if weights is None else torch.tensor(weights, dtype=torch.float32))


def weighted_mean(values: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of `values` under `weights` of the same shape, and what it was divided by; 0 where no weight is above 0."""
    total = weights.sum()
    total = torch.where(total > 0, total, 1.0)
    return (values * weights).sum() / total, total


def wants_gradient(scores: Tensor) -> bool:
    """Whether a backward pass may come and ask for the gradient of these scores."""
    return torch.is_grad_enabled() and scores.requires_grad


def with_gradient(loss: Tensor, scores: Tensor, gradient: Tensor) -> Tensor:
    """A scalar loss whose gradient with respect to `scores` was made along with it, in any precision."""
    return _WithGradient.apply(loss, scores, gradient)


class _WithGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, loss: Tensor, scores: Tensor, gradient: Tensor) -> Tensor:
        ctx.dtype = scores.dtype
        ctx.save_for_backward(gradient)
        return loss.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_output: Tensor) -> tuple[None, Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return None, (gradient * grad_output).to(ctx.dtype), None
