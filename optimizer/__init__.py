"""Optimizers, the learning rate's schedule and weight averaging."""

from optimizer.averaging import ModelAverage
from optimizer.build import OPTIMIZERS, build_optimizer, list_optimizers
from optimizer.schedule import SCHEDULES, lr_factor, poly, scl_poly, set_lr

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "ModelAverage",
    "build_optimizer",
    "list_optimizers",
    "lr_factor",
    "poly",
    "scl_poly",
    "set_lr",
]
