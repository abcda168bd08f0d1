"""Adam, with the weight decay as part of the gradient, and AdamW, with a decoupled one."""

import torch


def adam(groups: list[dict], lr: float, amsgrad: bool = False) -> torch.optim.Optimizer:
    """Fused Adam with the usual moments, 0.9 and 0.999."""
    return torch.optim.Adam(groups, lr=lr, amsgrad=amsgrad, fused=True)


def adamw(groups: list[dict], lr: float, amsgrad: bool = False) -> torch.optim.Optimizer:
    """Fused AdamW with the usual moments, 0.9 and 0.999."""
    return torch.optim.AdamW(groups, lr=lr, amsgrad=amsgrad, fused=True)
