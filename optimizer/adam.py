"""Adam, with the weight decay as part of the gradient, and AdamW, with a decoupled one."""

import torch


def adam(groups: list[dict], lr: float, amsgrad: bool = False) -> torch.optim.Optimizer:
    """Fused Adam with the usual moments, 0.9 and 0.999."""
    return _with_maxima(torch.optim.Adam(groups, lr=lr, amsgrad=amsgrad, fused=True))


def adamw(groups: list[dict], lr: float, amsgrad: bool = False) -> torch.optim.Optimizer:
    """Fused AdamW with the usual moments, 0.9 and 0.999."""
    return _with_maxima(torch.optim.AdamW(groups, lr=lr, amsgrad=amsgrad, fused=True))


def _with_maxima(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """AMSGrad's maxima begin with the present second moments, where a state without them is loaded."""

    def fill(loaded: torch.optim.Optimizer) -> None:
        for group in loaded.param_groups:
            for state in (loaded.state.get(parameter) for parameter in group["params"] if group["amsgrad"]):
                if state and "max_exp_avg_sq" not in state:
                    state["max_exp_avg_sq"] = state["exp_avg_sq"].clone()

    optimizer.register_load_state_dict_post_hook(fill)
    return optimizer
