"""The optimizer of a run."""

import torch
from torch import nn

from optimizer.options import OptimizerOptions
from utils.errors import OptionError


def build_optimizer(model: nn.Module, options: OptimizerOptions) -> torch.optim.Optimizer:
    """Optimizer over the parameters of `model` that require a gradient, in the model's own order.

    Each group keeps the base rate as `initial_lr`; `set_lr` scales from there.

    Raises:
        OptionError: Nothing is left to train.
    """
    groups = parameter_groups(model, options.weight_decay, options.no_decay_norm_bias)
    if not groups:
        raise OptionError("--freeze_trunk: no parameter requires a gradient, there is nothing to train; leave it out")
    optimizer = options.create(groups)
    for group in optimizer.param_groups:
        group["initial_lr"] = options.lr
    return optimizer


def match_strides(optimizer: torch.optim.Optimizer) -> None:
    """Give the optimizer's tensors the strides of their parameters: a fused step walks through both side by side.

    After loading, they have those of the memory layout that the state was saved in.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if torch.is_tensor(value) and value.shape == parameter.shape and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)


def parameter_groups(model: nn.Module, weight_decay: float, no_decay_norm_bias: bool) -> list[dict]:
    """Parameters that require a gradient with their weight decay, in the model's own order; no empty group.

    With `no_decay_norm_bias`, norms and biases (whatever has one dimension) are a second group without decay.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    undecayed = [parameter for parameter in trained if no_decay_norm_bias and parameter.ndim <= 1]
    decayed = [parameter for parameter in trained if not (no_decay_norm_bias and parameter.ndim <= 1)]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": undecayed, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
