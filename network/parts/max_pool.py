"""The stem's max pooling, with less to keep for its gradient."""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

WINDOW = ([3, 3], [2, 2], [1, 1])  # size, stride, padding


def max_pool(x: Tensor) -> Tensor:
    """`F.max_pool2d(x, 3, 2, padding=1)`, (N,C,H,W) -> (N,C,ceil(H/2),ceil(W/2)), to the bit, gradient included."""
    return _MaxPool.apply(x)


class _MaxPool(torch.autograd.Function):
    """Keeps where the maxima are; PyTorch keeps all of x too, of which its backward pass needs the shape alone."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        y, places = torch.ops.aten.max_pool2d_with_indices(x, *WINDOW)
        last = x.is_contiguous(memory_format=torch.channels_last)
        ctx.shape, ctx.memory_format = x.shape, torch.channels_last if last else torch.contiguous_format
        ctx.save_for_backward(places)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> Tensor:
        (places,) = ctx.saved_tensors
        x = torch.empty(ctx.shape, dtype=grad.dtype, device=grad.device, memory_format=ctx.memory_format)
        return torch.ops.aten.max_pool2d_with_indices_backward(grad, x, *WINDOW, [1, 1], False, places)
