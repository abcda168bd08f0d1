"""`loss.fused` for CUDA: upsampling, cross entropy and the choice of hard pixels in Triton.

Run in Triton's interpreter only; never run on a GPU, not measured. Importing this file needs the package triton.

The upsampled logits (N,C,H,W) are never stored, in no pass. The forward pass leaves one float32 per pixel, the backward
pass makes each pixel's softmax again from it. Which pixels count is decided on the device: nothing waits for it.
"""

import math
from collections.abc import Callable

import torch
import triton
from torch import Tensor
from torch.autograd.function import once_differentiable

from loss.triton.kernels import SLACK, cross_entropy_kernel, gradient_kernel
from utils.kernels import can_run

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
MAX_SIDE = 1 << 15  # of a label map: up to here float32 tells which logits a pixel is mixed from
PIXELS, CELLS, CLASSES = 32, 16, 32  # of a program; powers of two

# cross entropy (N,H,W) and validity of all pixels -> mask of those that count
Choose = Callable[[Tensor, Tensor], Tensor]


def takes(logits: Tensor, labels: Tensor) -> bool:
    """Whether the kernels compute this: float32, bfloat16 or float16 of sides up to 2^15, on CUDA (or interpreted)."""
    return (
        can_run(logits.device)
        and logits.dtype in DTYPES
        and labels.dtype == torch.int64
        and logits.ndim == 4
        and labels.ndim == 3
        and logits.shape[0] == labels.shape[0]
        and 0 < min(*logits.shape, *labels.shape)
        and max(*logits.shape[2:], *labels.shape[1:]) <= MAX_SIDE
    )


def upsampled_cross_entropy(logits: Tensor, labels: Tensor, ignore_label: int, choose: Choose | None = None) -> Tensor:
    """Mean cross entropy over the chosen pixels, float32; 0 with a graph and a zero gradient without any.

    The gradient is gathered: a program owns some of the logits and walks over the pixels that read them, in a fixed
    order. Atomic additions would make each softmax once instead of four times, and no two runs would be equal. The
    larger the stride s, the fewer programs and the longer their walk, about 4 (s + 1)^2 pixels.

    Args:
        logits: (N,C,h,w) that `takes` allows, at any stride and in any memory layout; upsampled bilinearly,
            align_corners=True. All sums are float32.
        labels: (N,H,W) int64 of 0..C-1 and `ignore_label`. Another label makes the loss NaN.
        ignore_label: Label of the pixels that don't count.
        choose: Says which pixels count, without a host sync; None: all that are labelled.
    """
    return _UpsampledCrossEntropy.apply(logits, labels.contiguous(), ignore_label, choose)


class _UpsampledCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits: Tensor, labels: Tensor, ignore_label: int, choose: Choose | None) -> Tensor:
        values, log_sums = _cross_entropy(logits, labels, ignore_label)
        valid = labels != ignore_label
        kept = valid if choose is None else choose(values, valid)
        count = kept.sum().clamp(min=1)
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(logits, labels, log_sums.masked_fill_(~kept, math.inf), count)
        return values.where(kept, 0.0).sum() / count

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_output: Tensor):
        logits, labels, log_sums, count = ctx.saved_tensors
        return _gradient(logits, labels, log_sums, (grad_output / count).float()), None, None, None


def _cross_entropy(logits: Tensor, labels: Tensor, ignore_label: int) -> tuple[Tensor, Tensor]:
    """Each pixel's cross entropy (0 where ignored) and log-sum-exp, (N,H,W) float32 both."""
    values, log_sums = (torch.empty(labels.shape, dtype=torch.float32, device=logits.device) for _ in range(2))
    sizes = (*logits.shape[2:], *labels.shape[1:])
    scales = (_scale(sizes[0], sizes[2]), _scale(sizes[1], sizes[3]))
    grid = (triton.cdiv(sizes[2] * sizes[3], PIXELS), len(logits))
    cross_entropy_kernel[grid](
        logits, labels, values, log_sums, *logits.stride(), *sizes, *scales, ignore_label,
        classes=logits.shape[1], PIXELS=PIXELS, CLASSES=CLASSES,
    )  # fmt: skip
    return values, log_sums


def _gradient(logits: Tensor, labels: Tensor, log_sums: Tensor, factor: Tensor) -> Tensor:
    """`factor` times the gradient of the sum over all pixels with a finite (or NaN) `log_sums`, like `logits`."""
    gradient = torch.empty_like(logits)
    n, classes, *sizes = *logits.shape, *labels.shape[1:]
    scales = (_scale(sizes[0], sizes[2]), _scale(sizes[1], sizes[3]))
    inverses = [1 / scale if scale else 0.0 for scale in scales]
    # as many pixels as lie between two neighbouring rows; all, where all have the same row
    spans = [math.ceil(x + 2 * SLACK.value) if x else side for x, side in zip(inverses, sizes[2:], strict=True)]
    grid = (triton.cdiv(sizes[0] * sizes[1], CELLS), n, triton.cdiv(classes, CLASSES))
    gradient_kernel[grid](
        logits, labels, log_sums, factor, gradient, *logits.stride(), *gradient.stride(),
        *sizes, *scales, *inverses, classes=classes, span_y=spans[0], span_x=spans[1], CELLS=CELLS, CLASSES=CLASSES,
    )  # fmt: skip
    return gradient


def _scale(source: int, side: int) -> float:
    """Source rows from one pixel to the next with align_corners=True."""
    return (source - 1) / (side - 1) if side > 1 else 0.0
