"""A snapshot's settings and schedule, also where an older version wrote it, which knew less."""

import ast
from dataclasses import replace
from typing import Any

from engine.checkpoint.run_state import RunState
from engine.training.plan import TrainSchedule
from loss.options import OLD_NAMES

# a change of these makes another model or optimizer, whose state doesn't fit
MODEL_SETTINGS = ("arch", "backbone", "classes", "channels", "aux", "boundary", "filter_kernel", "fem_d", "fem_s")
MODEL_SETTINGS += ("norm_groups", "optimizer")
# of the job that computes the steps, or scores them: they may change, and the log says so
JOB_SETTINGS = {
    "processes": "processes",
    "bs_mult": "crops per process",
    "accumulate": "batches per step",
    "norms": "norms",
    "base_size": "validation, whose scores no longer compare: --base_size",
}


def complete_settings(saved: dict, defaults: dict) -> dict:
    """A snapshot's settings, with what its version didn't know as it worked without."""
    loss = next((name for flag, name in OLD_NAMES.items() if saved.get(flag) == "True"), "ce")
    derived = ("global_batch", *JOB_SETTINGS, *MODEL_SETTINGS)
    known = {name: value for name, value in defaults.items() if name not in derived}
    return known | {"loss": repr(loss)} | saved


def schedule_of(training: dict, state: RunState, present: TrainSchedule) -> TrainSchedule:
    """The schedule of a snapshot; where an older version wrote it, as far as that can be told."""
    iters = training.get("schedule", {}).get("max_iters")
    if "schedule" in training:
        steps, epochs = training["schedule"]["steps_per_epoch"], training["schedule"]["max_epoch"]
    else:
        epochs = plain(training["settings"].get("max_epoch"))
        epochs = epochs if type(epochs) is int and epochs > 0 else present.max_epoch
        steps, rest = divmod(state.step - state.step_in_epoch, max(1, state.epoch))
        if rest or steps < 1:
            steps = present.steps_per_epoch
        steps = max(steps, state.step_in_epoch)
    length = {"max_epoch": None if iters else epochs, "max_iters": iters}
    return replace(present, options=replace(present.options, **length), steps_per_epoch=steps)


def plain(value: Any) -> Any:
    """What a setting's text stands for."""
    try:
        return ast.literal_eval(value) if isinstance(value, str) else value
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value
