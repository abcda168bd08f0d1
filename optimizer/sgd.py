"""Stochastic gradient descent with momentum."""

import torch


def sgd(groups: list[dict], lr: float, momentum: float = 0.9) -> torch.optim.Optimizer:
    """Fused SGD whose momentum buffers exist from the start.

    From zeros a first step is the same; the fused step would make a buffer, and leave it unset should that step be
    left out.
    """
    optimizer = torch.optim.SGD(groups, lr=lr, momentum=momentum, fused=True)
    _fill_momentum(optimizer)
    optimizer.register_load_state_dict_post_hook(_fill_momentum)
    return optimizer


def _fill_momentum(optimizer: torch.optim.Optimizer) -> None:
    for group in optimizer.param_groups:
        if group.get("momentum"):
            for parameter in group["params"]:
                state = optimizer.state[parameter]
                if state.get("momentum_buffer") is None:
                    state["momentum_buffer"] = torch.zeros_like(parameter, requires_grad=False)
