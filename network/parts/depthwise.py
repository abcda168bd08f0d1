"""Depthwise convolution with a fast gradient of large kernels on the CPU."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from network.parts.half_depthwise import convolve_half, kernel_gradient, trains_in_half


def depthwise_conv2d(x: Tensor, kernel: Tensor, padding: int = 0) -> Tensor:
    """`F.conv2d(x, kernel, padding=padding, groups=C)`, stride 1: x (N,C,H,W), kernel (C,1,k,k) -> (N,C,H',W').

    While training on a CPU, the kernel's gradient is made from strips of three of its columns.
    """
    if trains_in_half(x):
        return convolve_half(x, kernel, padding=(padding,) * 4)
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
        grad_x, padding = None, [ctx.padding, ctx.padding]
        if ctx.needs_input_grad[0]:
            options = ([1, 1], padding, [1, 1], False, [0, 0], x.shape[1])
            grad_x = torch.ops.aten.convolution_backward(grad, x, kernel, None, *options, [True, False, False])[0]
        return grad_x, kernel_gradient(grad, x, kernel, 1, padding), None
