"""The learning rate as a pure function of progress, so that a resumed run needs to remember nothing."""

import torch

from utils.errors import OptionError

SCHEDULES = ("poly", "scl-poly")


def poly(t: float, exp: float) -> float:
    """(1 - t)^exp for a progress t in [0, 1)."""
    return (1 - t) ** exp


def scl_poly(t: float, exp: float, *, switch_off: float | None, repoly: float, rescale: float) -> float:
    """`poly` until the progress `switch_off` (t0), then rescale x (1 - (t - t0) / (1 - t0))^repoly.

    Args:
        switch_off: progress at which boundary relaxation ends; None, or 1 and more: it never does.
    """
    if switch_off is None or t < switch_off:
        return poly(t, exp)
    return rescale * (1 - (t - switch_off) / (1 - switch_off)) ** repoly


def lr_factor(
    step: int,
    total_steps: int,
    *,
    schedule: str = "poly",
    poly_exp: float = 1.0,
    repoly: float = 1.5,
    rescale: float = 1.0,
    switch_off: float | None = None,
    warmup_steps: int = 0,
) -> float:
    """Factor of the base learning rate for optimizer step `step`, counted from 0.

    Progress is step / total_steps, below 1, so that the last step still learns. During warm-up the schedule's value is
    multiplied by the linear ramp (step + 1) / warmup_steps: nothing jumps where the ramp ends, and the schedule's
    horizon stays what `total_steps` says.

    Args:
        total_steps: steps of the whole run.
        schedule: `poly` or `scl-poly`.
        switch_off: progress t0 in [0, 1) from which `scl-poly` restarts; None: never.

    Raises:
        OptionError: an unknown schedule.
        ValueError: a step outside 0..total_steps-1, or a `switch_off` below 0.
    """
    if schedule not in SCHEDULES:
        raise OptionError(f"unknown --lr_schedule {schedule!r}; choose one of {', '.join(SCHEDULES)}")
    if not 0 <= step < total_steps:
        raise ValueError(f"step {step} is outside the schedule's horizon of {total_steps} steps")
    if switch_off is not None and switch_off < 0:
        raise ValueError(f"switch_off is {switch_off}, expected a progress in [0, 1) or None for never")
    t = step / total_steps
    if schedule == "poly":
        factor = poly(t, poly_exp)
    else:
        factor = scl_poly(t, poly_exp, switch_off=switch_off, repoly=repoly, rescale=rescale)
    return factor * min(1.0, (step + 1) / warmup_steps) if warmup_steps else factor


def set_lr(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set each group's rate to `factor` times the base rate it keeps as `initial_lr`."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor
