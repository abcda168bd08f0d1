"""The optimizers by name. A new one is a file in this folder and a line in `OPTIMIZERS`.

An optimizer is a function of parameter groups and the base learning rate; its further arguments, which need defaults,
are its options (`--optimizer_args`). It returns a fused `torch.optim.Optimizer`: one that leaves a step out where its
`found_inf`, a tensor on the device, says so.
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
