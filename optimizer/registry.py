"""The optimizers by name. A new one is a file in this folder and a line in `OPTIMIZERS`.

An optimizer is a function of parameter groups and the base learning rate; its further arguments, which need defaults,
are its options (`--optimizer_args`). It returns a `torch.optim.Optimizer`, fused where PyTorch has it: such a one
skips a step on the device where its `found_inf` says so; for another one the host waits in each step.
"""

from collections.abc import Callable
from inspect import Parameter

import torch

from optimizer.adam import adam, adamw
from optimizer.sgd import sgd
from utils.keywords import keywords

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {"sgd": sgd, "adam": adam, "adamw": adamw}


def list_optimizers() -> list[str]:
    """Names that `--optimizer` takes, sorted."""
    return sorted(OPTIMIZERS)


def optimizer_options(name: str) -> dict[str, Parameter]:
    """The optimizer's own options."""
    return {key: value for key, value in keywords(OPTIMIZERS[name]).items() if key not in ("groups", "lr")}
