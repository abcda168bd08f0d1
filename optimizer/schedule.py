"""The learning rate as a pure function of progress, so that a resumed run needs to remember nothing."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:  # it reads the names of the schedules here
    from optimizer.options import OptimizerOptions


def poly(t: float, options: "OptimizerOptions", switch_off: float | None = None) -> float:
    """(1 - t)^poly_exp for a progress t in [0, 1)."""
    return (1 - t) ** options.poly_exp


def scl_poly(t: float, options: "OptimizerOptions", switch_off: float | None = None) -> float:
    """`poly` until the progress t0 = `switch_off`, then rescale x (1 - (t - t0) / (1 - t0))^repoly."""
    if switch_off is None or t < switch_off:
        return poly(t, options)
    return options.rescale * (1 - (t - switch_off) / (1 - switch_off)) ** options.repoly


def cosine(t: float, options: "OptimizerOptions", switch_off: float | None = None) -> float:
    """(1 + cos(pi t)) / 2.

    Source:
        Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, ICLR 2017, equation 5, one period
    """
    return (1 + math.cos(math.pi * t)) / 2


SCHEDULES: dict[str, Callable[..., float]] = {"poly": poly, "scl-poly": scl_poly, "cosine": cosine}


@dataclass(frozen=True)
class LrSchedule:
    """Called with (step, total steps) -> factor of the base learning rate.

    Progress is step / total steps, below 1, so that the last step still learns. During warm-up the schedule's value is
    multiplied by the linear ramp (step + 1) / warmup_steps: nothing jumps where the ramp ends, and the schedule's
    horizon stays what the total says.

    Args:
        options: Of the run.
        switch_off: Progress at which boundary relaxation ends; None, or 1 and more: it never does.
    """

    options: "OptimizerOptions"
    switch_off: float | None = None

    def __call__(self, step: int, total_steps: int, made: int | None = None) -> float:
        """Raises `ValueError` for a step outside 0..total_steps-1. `made`: steps so far, where they are not `step`."""
        if not 0 <= step < total_steps:
            raise ValueError(f"step {step} is outside the schedule's horizon of {total_steps} steps")
        factor = SCHEDULES[self.options.lr_schedule](step / total_steps, self.options, self.switch_off)
        ramp = self.options.warmup_steps
        return factor * min(1.0, ((step if made is None else made) + 1) / ramp) if ramp else factor


def set_lr(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set each group's rate to `factor` times the base rate it keeps as `initial_lr`."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor
