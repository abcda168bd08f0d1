"""ReLU6 of other libraries' models, with less to keep for its gradient."""

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

LIMITS = (0.0, 6.0)


class ReLU6(nn.ReLU6):
    """`nn.ReLU6`, to the bit, gradient included. While it trains it keeps its result, as a ReLU does.

    PyTorch keeps what goes in, and in place a copy of it, although the next layer keeps the result anyway.
    """

    def forward(self, x: Tensor) -> Tensor:
        return _ReLU6.apply(x) if x.requires_grad and torch.is_grad_enabled() else super().forward(x)


def use_own_relu6(model: nn.Module) -> nn.Module:
    """`model` itself, each `nn.ReLU6` of the class above."""
    for module in model.modules():
        if type(module) is nn.ReLU6:
            module.__class__ = ReLU6
    return model


class _ReLU6(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        y = F.hardtanh(x, *LIMITS)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> Tensor:
        return torch.ops.aten.hardtanh_backward(grad, *ctx.saved_tensors, *LIMITS)
