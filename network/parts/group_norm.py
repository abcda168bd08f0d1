"""Group norms that stay in half precision on CUDA, where autocast would make them and all that follows float32."""

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from utils.resizing import HALF


class GroupNorm(nn.GroupNorm):
    """`nn.GroupNorm` of (N,C,H,W), with the same weights, names and results, but for half precision on CUDA.

    There the result has the type and the memory format of the input, and statistics are float32. PyTorch's own gives
    float32 under autocast; without it statistics are rounded to half precision, and channels_last is lost.

    Source: Wu and He, Group Normalization, ECCV 2018
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype in HALF and x.is_cuda:
            return HalfGroupNorm.apply(x, self.weight, self.bias, self.num_groups, self.eps)
        return super().forward(x)


class HalfGroupNorm(torch.autograd.Function):
    """Values (N,C,H,W) of half precision, weight, bias (C) float32 -> normalised ones, of the values' type.

    Variance and gradients follow from sums over the values themselves, not over their distances from the mean. What
    float32 loses by that is less than what rounding to half precision took from the values before.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            grouped, dims = x.unflatten(1, (groups, -1)), (2, 3, 4)
            count = grouped[0, 0].numel()
            mean = grouped.sum(dims, dtype=torch.float32, keepdim=True) / count
            length = torch.linalg.vector_norm(grouped, dim=dims, dtype=torch.float32, keepdim=True)
            variance = torch.addcmul(mean * mean, length, length, value=-1 / count).neg()
            rstd = (variance + eps).clamp_min(eps).rsqrt()
            ctx.save_for_backward(x, weight, mean, rstd)
            scale = rstd * _grouped(weight, groups)
            shift = torch.addcmul(_grouped(bias, groups), mean, scale, value=-1)
            return _rounded(x, shift, (grouped, scale))

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, rstd = ctx.saved_tensors
        with torch.autocast(x.device.type, enabled=False):
            grouped = x.unflatten(1, (mean.shape[1], -1))
            # (N,2,groups,C/groups,1,1): of grad times the normalised x, and of grad
            sums = _sums(grad, x, weight).unflatten(2, grouped.shape[1:3])[..., None, None]
            sums[:, 0].addcmul_(mean, sums[:, 1], value=-1).mul_(rstd)
            to_weight, to_bias = sums.sum(0).flatten(1).unbind()
            means = (sums * _grouped(weight / -grouped[0, 0].numel(), mean.shape[1])).sum(3, keepdim=True)
            # rstd * (weight * grad + offset + slope * normalised x), as a * grad + b * x + c
            slope, offset = (means * rstd.unsqueeze(1)).unbind(1)
            a, b = rstd * _grouped(weight, mean.shape[1]), slope * rstd
            c = torch.addcmul(offset, b, mean, value=-1)
            grad_x = _rounded(x, c, (grouped, b), (grad.unflatten(1, grouped.shape[1:3]), a))
        return grad_x, to_weight, to_bias, None, None


def _grouped(value: Tensor, groups: int) -> Tensor:
    """(C) -> (groups,C/groups,1,1)."""
    return value.view(groups, -1, 1, 1)


def _sums(grad: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """(N,2,C) float32: each image's sums over the pixels of grad * x, and of grad."""
    zeros, ones = torch.zeros_like(weight), torch.ones_like(weight)
    statistics = (zeros, ones, zeros, ones, False, 0.0)  # means and scales of a norm that leaves x as it is
    found = []
    for i in range(len(x)):  # the kernel of batch norms reads both maps once; it would sum over the images, too
        image = grad[i : i + 1], x[i : i + 1]
        found += torch.ops.aten.native_batch_norm_backward(*image, weight, *statistics, [False, True, True])[1:]
    return torch.stack(found).view(len(x), 2, -1)


def _rounded(like: Tensor, total: Tensor, *terms: tuple[Tensor, Tensor]) -> Tensor:
    """`total` + the products of all terms (N,groups,C/groups,H,W), in float32; rounded to `like` (N,C,H,W)."""
    *others, last = terms
    for term in others:
        total = torch.addcmul(total, *term)
    if torch.compiler.is_compiling():  # which rounds where it computes by itself
        return torch.addcmul(total, *last).flatten(1, 2).to(like.dtype)
    rounded = torch.empty_like(like)
    torch.addcmul(total, *last, out=rounded.unflatten(1, last[0].shape[1:3]))
    return rounded
