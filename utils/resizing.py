"""The one way in which this family resizes maps."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

HALF = (torch.bfloat16, torch.float16)


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """(N,C,h,w) -> (N,C,*size), bilinear with align_corners=True, in the type of x.

    Under autocast too, which on CUDA would make half precision float32.
    """
    if x.dtype in HALF and x.is_cuda or x.device.type == "cpu" and x.requires_grad and torch.is_grad_enabled():
        with torch.autocast(x.device.type, enabled=False):
            return Resize.apply(x, tuple(size))
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=True)


class Resize(torch.autograd.Function):
    """`resize`, (N,C,h,w) -> (N,C,*size): PyTorch's kernel, which computes a pixel in float32 at least.

    So does the CPU's for the gradient, of which some channels of a larger map are copied to channels_last: as they are
    it takes three to ten times as long for the same sums. On CUDA the gradient is `shrink`: PyTorch's would add up in
    half precision, and in random order.
    """

    @staticmethod
    def forward(ctx, x: Tensor, size: tuple[int, int]) -> Tensor:
        ctx.shape, ctx.channels_last = x.shape, x.is_contiguous(memory_format=torch.channels_last)
        return torch.ops.aten.upsample_bilinear2d(x, size, True)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        if grad.is_cuda:
            with torch.autocast("cuda", enabled=False):
                return shrink(grad, ctx.shape[-2:], ctx.channels_last), None
        if ctx.channels_last and not grad.is_contiguous():
            grad = grad.contiguous(memory_format=torch.channels_last)
        return torch.ops.aten.upsample_bilinear2d_backward(grad, grad.shape[-2:], ctx.shape, True), None


def shrink(grad: Tensor, size: Sequence[int], channels_last: bool) -> Tensor:
    """The gradient of `resize`, (N,C,H,W) -> (N,C,*size): two products with matrices, which sum in float32 at least.

    Args:
        grad: (N,C,H,W) float of any precision, which the matrices are made in.
        size: (h,w) of the map that was resized.
        channels_last: Memory format of that map, and of the result. Some channels of a larger `grad` aren't copied.
    """
    (height, width), resized = size, grad.shape[-2:]
    rows = _weights(height, resized[0], grad)
    columns = rows if height == width and resized[0] == resized[1] else _weights(width, resized[1], grad)
    if not channels_last:
        return rows @ (grad @ columns.mT)
    y = columns @ grad.permute(0, 2, 3, 1)  # (N,H,w,C)
    return (rows @ y.flatten(2)).unflatten(2, y.shape[2:]).permute(0, 3, 1, 2)


def _weights(length: int, resized: int, like: Tensor) -> Tensor:
    """(length, resized): how much of pixel i is in pixel j of a resized line; the lines of the identity, resized."""
    identity = torch.eye(length, dtype=like.dtype, device=like.device)
    return torch.ops.aten.upsample_linear1d(identity.unsqueeze(0), (resized,), True).squeeze(0)


def coarse_size(size: Sequence[int]) -> tuple[int, int]:
    """(height, width) of a map at a quarter of an image's or a crop's size, such as a teacher's."""
    height, width = (-(-side // 4) for side in size)
    return height, width


def at_places(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Values of maps (N,H,W) at the pixels that are nearest to those of a map of `size` over the same image.

    First and last pixels belong together, as in `resize`.

    Returns:
        (N,*size), of the same type.
    """
    for axis, count in zip((1, 2), size, strict=True):
        places = torch.linspace(0, maps.shape[axis] - 1, count, device=maps.device).round().long()
        maps = maps.index_select(axis, places)
    return maps
