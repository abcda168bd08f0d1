"""Depthwise convolution under bfloat16 autocast on a CPU, with gradients by what oneDNN has fast kernels for.

A convolution without stride is fast there at any size, and so is a kernel's gradient up to three columns: 5x5, or an
input's gradient with a stride, take 10 to 60 times as long. The measurements are in docs/speed.md. Sums are float32.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

STRIP = 3  # columns at a time: on maps from 64x64 on, oneDNN makes three gradients of 9x3 in 0.15 to 0.35 of 9x9's time
LAST = torch.channels_last


def is_cpu_half(x: Tensor) -> bool:
    """Whether convolutions of x are in bfloat16, under autocast on a CPU."""
    if x.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return False
    return torch.get_autocast_dtype("cpu") == torch.bfloat16


def trains_in_half(x: Tensor) -> bool:
    """Whether `convolve_half` computes the depthwise convolutions of x: where gradients are taken."""
    return torch.is_grad_enabled() and is_cpu_half(x)


def convolve_half(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None = None,
    stride: int = 1,
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
) -> Tensor:
    """`F.conv2d(F.pad(x, padding), kernel, bias, stride, groups=C)` in bfloat16, in channels_last.

    Args:
        x: (N,C,H,W) float.
        kernel: (C,1,k,k) float.
        bias: (C,) or none.
        stride: Both ways.
        padding: Zeros on the left, on the right, above and below.

    Returns:
        (N,C,H',W') bfloat16.
    """
    x = x.to(torch.bfloat16, memory_format=LAST)
    y = _HalfDepthwise.apply(x, kernel.to(torch.bfloat16), stride, padding)
    return y if bias is None else y + bias.to(torch.bfloat16).view(-1, 1, 1)


class _HalfDepthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, kernel: Tensor, stride: int, padding: tuple[int, int, int, int]) -> Tensor:
        left, right, above, below = padding
        ctx.stride, ctx.size, ctx.start, ctx.padding = stride, x.shape[-2:], (above, left), [above, left]
        if left != right or above != below:  # oneDNN's paddings here are the same on both sides
            x, ctx.padding = F.pad(x, padding), [0, 0]
        ctx.save_for_backward(x, kernel)
        return F.conv2d(x, kernel, None, stride, ctx.padding, groups=x.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, kernel = ctx.saved_tensors
        grad = grad.contiguous(memory_format=LAST)
        by_x, by_kernel = ctx.needs_input_grad[:2]
        grad_x = input_gradient(grad, kernel, ctx.stride, ctx.start, ctx.size) if by_x else None
        grad_kernel = kernel_gradient(grad, x, kernel, ctx.stride, ctx.padding) if by_kernel else None
        return grad_x, grad_kernel, None, None


def input_gradient(grad: Tensor, kernel: Tensor, stride: int, start: tuple[int, int], size: torch.Size) -> Tensor:
    """The gradient of a depthwise convolution by its input, (N,C,H',W') -> (N,C,*size): itself such a convolution.

    Args:
        grad: In channels_last.
        kernel: (C,1,k,k).
        stride: Both ways; so far apart the pixels of `grad` are placed among zeros.
        start: Zeros that were above the input and on its left.
        size: (H,W) of the input.
    """
    n, channels, *sides = grad.shape
    last, mirrored = kernel.shape[-1] - 1, kernel.flip(2, 3)
    around = [last - zeros for zeros in start]
    if stride == 1 and all(a + 2 * b - last == c for a, b, c in zip(sides, around, size, strict=True)):
        return F.conv2d(grad, mirrored, padding=around, groups=channels)
    spread = grad.new_zeros(n, size[0] + last, size[1] + last, channels).permute(0, 3, 1, 2)
    rows, columns = (slice(first, first + stride * side, stride) for first, side in zip(around, sides, strict=True))
    spread[:, :, rows, columns] = grad
    return F.conv2d(spread, mirrored, groups=channels)


def kernel_gradient(grad: Tensor, x: Tensor, kernel: Tensor, stride: int, padding: list[int]) -> Tensor:
    """The gradient of a depthwise convolution by its kernel (C,1,k,k), strip by strip of columns.

    Args:
        grad: (N,C,H',W') in channels_last.
        x: (N,C,H,W).
        kernel: (C,1,k,k), of which the shape counts.
        stride: Both ways.
        padding: Zeros above and below x, and on its left and right.
    """
    rows, columns = padding
    strips = kernel.split(STRIP, dim=-1)
    if len(strips) > 1:
        x, columns = F.pad(x, (columns, columns)), 0
    covered = (grad.shape[-1] - 1) * stride
    x = x.contiguous(memory_format=LAST)
    options = ([stride, stride], [rows, columns], [1, 1], False, [0, 0], x.shape[1], [False, True, False])
    gradients = []
    for i, strip in enumerate(strips):
        seen = x if len(strips) == 1 else x[..., STRIP * i : STRIP * i + covered + strip.shape[-1]]
        gradients.append(torch.ops.aten.convolution_backward(grad, seen, strip, None, *options)[1])
    return torch.cat(gradients, dim=-1)
