"""Batch norms over the crops of all processes; the host waits for nothing that the device computes."""

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm


class SyncNorm(_BatchNorm):
    """`nn.BatchNorm2d` over the joined batch of all processes, which may hold different numbers of values.

    One reduction over the processes in the forward pass, one in the backward pass. PyTorch's own `SyncBatchNorm` makes
    the host wait for the device three times and can't be traced. In evaluation mode it is a plain batch norm.

    Input and output (N,C,...), of one dtype; statistics in float32 or better. As with any loss that is averaged over
    processes, gradients of weight and bias are those of this process's crops.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            x, mean, variance, count = _JoinedNorm.apply(x, self.weight, self.bias, self.eps)
            self._track(mean, variance * (count / (count - 1)))
        else:
            x = F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        for part in self.children():  # timm's norms hold a dropout and their activation
            x = part(x)
        return x

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        self.num_batches_tracked.add_(1)
        momentum = self.momentum
        if momentum is None:
            momentum = self.num_batches_tracked.to(mean.dtype).reciprocal()
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance, momentum)


def synchronise_norms(model: nn.Module) -> nn.Module:
    """`model` itself, its batch norms synchronised; those without weights or running statistics stay.

    Only their class changes: parameters, hooks, timm's activations and places where a norm is used twice stay.
    """
    for module in model.modules():
        if isinstance(module, _BatchNorm) and module.affine and module.track_running_stats:
            module.__class__ = SyncNorm
    return model


class _JoinedNorm(torch.autograd.Function):
    """Values (N,C,...), weight, bias (C) -> normalised ones; mean (C), variance (C), count () over all processes."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, ...]:
        mean, variance, count = (value.to(weight.dtype) for value in joined_statistics(x, eps))
        ctx.save_for_backward(x, weight, mean, variance, count)
        ctx.mark_non_differentiable(mean, variance, count)
        ctx.eps = eps
        return F.batch_norm(x, mean, variance, weight, bias, eps=eps), mean, variance, count

    @staticmethod
    def backward(ctx: FunctionCtx, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance, count = ctx.saved_tensors
        scale = (variance + ctx.eps).rsqrt()
        statistics = (mean, variance, mean, scale)  # on CUDA the last two are read, on a CPU the first
        _, grad_weight, grad_bias = torch.ops.aten.native_batch_norm_backward(
            grad, x, weight, *statistics, False, ctx.eps, [False, True, True]
        )
        if not ctx.needs_input_grad[0]:
            return None, grad_weight, grad_bias, None
        sums = torch.cat([grad_weight, grad_bias])
        dist.all_reduce(sums)
        slope, offset = (sums / count).chunk(2)
        # scale * weight * (grad - offset - slope * normalised x), as a * grad + b * x + c
        a = scale * weight
        b = -a * scale * slope
        c = -a * offset - b * mean
        a, b, c = (value.view(-1, *[1] * (x.dim() - 2)) for value in (a, b, c))
        # rounded where it is computed, which a compiler does by itself
        out = None if torch.compiler.is_compiling() else torch.empty_like(x)
        grad_x = torch.addcmul(torch.addcmul(c, x, b), grad, a, out=out)
        return grad_x.to(x.dtype), grad_weight, grad_bias, None


def joined_statistics(x: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (C), variance (C) and number () of the values (N,C,...) of all processes, in float64.

    Each process's own come from the kernel of plain batch norms, in float32 or better. What they are joined by are sums
    of values and squares; in float64 these need no shift to keep the variance of a channel far from zero.
    """
    if not x.is_cuda and x.dtype != torch.float64:
        x = x.float()  # a CPU's statistics are of the values' dtype
    _, mean, scale = torch.native_batch_norm(x, None, None, None, None, True, 0.0, eps)
    mean, variance = mean.double(), scale.double().pow(-2) - eps
    sums = torch.cat([mean, variance + mean.square(), mean.new_ones(1)]) * (x.numel() // x.shape[1])
    dist.all_reduce(sums)
    mean, square = (sums[:-1] / sums[-1]).chunk(2)
    return mean, (square - mean.square()).clamp_min(0), sums[-1]
