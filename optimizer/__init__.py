"""Optimizers, the learning rate's schedule and weight averaging."""

from optimizer.averaging import ModelAverage
from optimizer.build import build_optimizer, match_strides
from optimizer.options import OptimizerOptions
from optimizer.registry import OPTIMIZERS, list_optimizers, optimizer_options
from optimizer.schedule import SCHEDULES, LrSchedule, set_lr

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "LrSchedule",
    "ModelAverage",
    "OptimizerOptions",
    "build_optimizer",
    "list_optimizers",
    "match_strides",
    "optimizer_options",
    "set_lr",
]
