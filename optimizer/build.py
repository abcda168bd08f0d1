"""The optimizer of a run."""

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from optimizer.options import OptimizerOptions
from utils.errors import OptionError

Stages = Sequence[Sequence[nn.Parameter]]


def build_optimizer(model: nn.Module, options: OptimizerOptions, stages: Stages = ()) -> torch.optim.Optimizer:
    """Optimizer over the parameters of `model` that require a gradient, in the model's own order.

    `stages` are the encoder's parameters, finest stage first, for rates of their own. Each group keeps the base rate
    as `initial_lr`; `set_lr` scales from there.

    Raises:
        OptionError: Nothing is left to train.
    """
    factors = rate_factors(stages, options)
    groups = parameter_groups(model, options, factors)
    if not groups:
        raise OptionError("--freeze_trunk: no parameter requires a gradient, there is nothing to train; leave it out")
    optimizer = options.create(groups)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def rate_factors(stages: Stages, options: OptimizerOptions) -> dict[nn.Parameter, float]:
    """Factor of the learning rate of each of the encoder's parameters: decay^d x encoder_lr, d = 1 for the last stage.

    Source:
        Clark et al., ELECTRA, ICLR 2020, appendix B; Bao et al., BEiT, ICLR 2022, for vision
    """
    depth = len(stages)
    rates = [options.encoder_lr * options.lr_decay_by_depth ** (depth - i) for i in range(depth)]
    return {parameter: rate for rate, stage in zip(rates, stages, strict=True) for parameter in stage}


def match_strides(optimizer: torch.optim.Optimizer) -> None:
    """Give the optimizer's tensors the strides of their parameters: a fused step walks through both side by side.

    After loading, they have those of the memory layout that the state was saved in.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if torch.is_tensor(value) and value.shape == parameter.shape and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)


def parameter_groups(model: nn.Module, options: OptimizerOptions, factors: Mapping[nn.Parameter, float]) -> list[dict]:
    """Parameters that require a gradient, in the model's own order, with weight decay and rate; no empty group.

    Those of the base rate, factor 1, come first. With `--no_decay_norm_bias`, norms and biases (whatever has one
    dimension) are further groups without decay.
    """
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            bare = options.no_decay_norm_bias and parameter.ndim <= 1
            groups.setdefault((factors.get(parameter, 1.0), bare), []).append(parameter)
    order = sorted(groups, key=lambda key: (key[0] != 1, -key[0], key[1]))
    return [
        {
            "params": groups[factor, bare],
            "weight_decay": 0.0 if bare else options.weight_decay,
            "lr": options.lr * factor,
        }
        for factor, bare in order
    ]
