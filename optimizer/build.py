"""The optimizer of a run."""

from collections.abc import Callable

import torch
from torch import nn

from utils.errors import OptionError


def _sgd(groups: list[dict], lr: float, momentum: float, amsgrad: bool) -> torch.optim.Optimizer:
    if amsgrad:
        raise OptionError("--amsgrad is a variant of Adam, but the optimizer is sgd; add --adam or leave it out")
    optimizer = torch.optim.SGD(groups, lr=lr, momentum=momentum, fused=True)
    _fill_momentum(optimizer)
    optimizer.register_load_state_dict_post_hook(_fill_momentum)
    return optimizer


def _adam(groups: list[dict], lr: float, momentum: float, amsgrad: bool) -> torch.optim.Optimizer:
    return torch.optim.Adam(groups, lr=lr, amsgrad=amsgrad, fused=True)


def _adamw(groups: list[dict], lr: float, momentum: float, amsgrad: bool) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, lr=lr, amsgrad=amsgrad, fused=True)


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {"sgd": _sgd, "adam": _adam, "adamw": _adamw}


def list_optimizers() -> list[str]:
    """Names that `build_optimizer` knows, sorted."""
    return sorted(OPTIMIZERS)


def build_optimizer(
    model: nn.Module,
    name: str,
    lr: float,
    momentum: float = 0.9,
    weight_decay: float = 1e-4,
    amsgrad: bool = False,
    *,
    no_decay_norm_bias: bool = False,
) -> torch.optim.Optimizer:
    """Optimizer over the parameters of `model` that require a gradient, in the model's own order.

    Each group keeps the base rate as `initial_lr`; `set_lr` scales from there. It is a fused one: it leaves a step out
    where a tensor on the device says so, and the host doesn't have to know.

    Args:
        name: `sgd` (with momentum), `adam` (weight decay as part of the gradient) or `adamw` (decoupled).
        lr: base learning rate, > 0.
        momentum: SGD's; Adam's moments keep their usual 0.9 and 0.999.
        weight_decay: on every parameter, as in the papers' recipe.
        amsgrad: the AMSGrad variant of Adam and AdamW.
        no_decay_norm_bias: leave norms and biases (whatever has one dimension) undecayed, in a second group.

    Raises:
        OptionError: an unknown name, a rate that cannot work, or nothing left to train.
    """
    if name not in OPTIMIZERS:
        raise OptionError(f"unknown optimizer {name!r}; choose one of {', '.join(list_optimizers())} (--sgd, --adam)")
    for flag, value, allowed in (
        ("--lr", lr, lr > 0),
        ("--momentum", momentum, 0 <= momentum < 1),
        ("--weight_decay", weight_decay, weight_decay >= 0),
    ):
        if not allowed:
            raise OptionError(f"{flag} {value} cannot work; rates are positive, momentum in [0, 1), decay 0 or more")
    groups = parameter_groups(model, weight_decay, no_decay_norm_bias)
    if not groups:
        raise OptionError("no parameter requires a gradient, there is nothing to train; unfreeze some (--freeze_trunk)")
    optimizer = OPTIMIZERS[name](groups, lr, momentum, amsgrad)
    for group in optimizer.param_groups:
        group["initial_lr"] = lr
    return optimizer


def _fill_momentum(optimizer: torch.optim.Optimizer) -> None:
    """Give each weight of SGD without momentum one of zeros, from which its first step is the same.

    The fused step would make it, and leave it unset should that step be left out.
    """
    for group in optimizer.param_groups:
        if group.get("momentum"):
            for parameter in group["params"]:
                state = optimizer.state[parameter]
                if state.get("momentum_buffer") is None:
                    state["momentum_buffer"] = torch.zeros_like(parameter, requires_grad=False)


def parameter_groups(model: nn.Module, weight_decay: float, no_decay_norm_bias: bool) -> list[dict]:
    """Parameters that require a gradient with their weight decay, in the model's own order; no empty group."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    undecayed = [parameter for parameter in trained if no_decay_norm_bias and parameter.ndim <= 1]
    decayed = [parameter for parameter in trained if not (no_decay_norm_bias and parameter.ndim <= 1)]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": undecayed, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
