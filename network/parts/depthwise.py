"""Depthwise convolution with a fast gradient of large kernels on the CPU."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

STRIP = 3  # columns at a time: on maps from 64x64 on, oneDNN makes three gradients of 9x3 in 0.15 to 0.35 of 9x9's time


def depthwise_conv2d(x: Tensor, kernel: Tensor, padding: int = 0) -> Tensor:
    """`F.conv2d(x, kernel, padding=padding, groups=C)`, stride 1: x (N,C,H,W), kernel (C,1,k,k) -> (N,C,H',W').

    While training on a CPU, the kernel's gradient is made from strips of three of its columns.
    """
    training = torch.is_grad_enabled() and kernel.requires_grad
    if training and x.device.type == "cpu" and not torch.is_autocast_enabled("cpu"):
        return _StripDepthwise.apply(x, kernel, padding)
    return F.conv2d(x, kernel, padding=padding, groups=x.shape[1])


class _StripDepthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, kernel: Tensor, padding: int) -> Tensor:
        ctx.save_for_backward(x, kernel)
        ctx.padding = padding
        return F.conv2d(x, kernel, padding=padding, groups=x.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor, None]:
        x, kernel = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        grad_x = _gradient(grad, x, kernel, (ctx.padding, ctx.padding), 0) if ctx.needs_input_grad[0] else None
        padded = F.pad(x, (ctx.padding, ctx.padding)).contiguous(memory_format=torch.channels_last)
        width = grad.shape[-1]
        strips = [
            _gradient(grad, padded[..., start : start + width + strip.shape[-1] - 1], strip, (ctx.padding, 0), 1)
            for start, strip in zip(range(0, kernel.shape[-1], STRIP), kernel.split(STRIP, dim=-1), strict=True)
        ]
        return grad_x, torch.cat(strips, dim=-1), None


def _gradient(grad: Tensor, x: Tensor, kernel: Tensor, padding: tuple[int, int], which: int) -> Tensor:
    """Of a depthwise convolution: by its input (`which` 0) or its kernel (1)."""
    mask = [which == 0, which == 1, False]
    sizes = ([1, 1], padding, [1, 1], False, [0, 0], x.shape[1])
    return torch.ops.aten.convolution_backward(grad, x, kernel, None, *sizes, mask)[which]
