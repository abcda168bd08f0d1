"""Options of the optimizer, its schedule and the weight average."""

from dataclasses import dataclass

import torch

from optimizer.registry import OPTIMIZERS, list_optimizers, optimizer_options
from optimizer.schedule import SCHEDULES
from utils.errors import OptionError
from utils.keywords import describe, parse_keywords
from utils.options import check, option

MAX_RATE = 1e30  # what single precision holds, with some room


@dataclass(frozen=True)
class OptimizerOptions:
    """optimizer and schedule"""

    optimizer: str = option("sgd", "optimizer", choices=tuple(OPTIMIZERS))
    optimizer_args: str = option(
        "",
        "its options, key=value,...: "
        + "; ".join(f"{name}: {describe(optimizer_options(name))}" for name in OPTIMIZERS),
    )
    lr: float = option(0.002, "base learning rate")
    encoder_lr: float = option(1.0, "factor of the encoder's learning rate")
    lr_decay_by_depth: float = option(
        1.0,
        "factor of the rate from each encoder stage to the one before it, and from the decoder to the last",
    )
    lr_schedule: str = option("poly", "learning rate over time", choices=tuple(SCHEDULES))
    poly_exp: float = option(1.0, "exponent of poly")
    repoly: float = option(1.5, "exponent after relaxation ends (scl-poly)")
    rescale: float = option(1.0, "factor after relaxation ends (scl-poly)")
    warmup_steps: int = option(0, "steps of linear warm-up")
    amsgrad: bool = option(False, "Adam's AMSGrad variant")
    weight_decay: float = option(1e-4, "weight decay")
    no_decay_norm_bias: bool = option(False, "no weight decay on norms and biases")
    momentum: float = option(optimizer_options("sgd")["momentum"].default, "momentum of SGD")
    clip_grad: float | None = option(
        None, "largest norm of the gradient of all weights together, logged as train/grad_norm; unset: not clipped"
    )
    ema: float = option(0.0, "decay of the weight average, which is then validated and saved as best; 0: off")

    def __post_init__(self) -> None:
        known = ", ".join(list_optimizers())
        check(self.optimizer in OPTIMIZERS, "--optimizer", self.optimizer, f"no such optimizer; choose one of {known}")
        check(self.lr > 0, "--lr", self.lr, "must be positive")
        check(0 < self.encoder_lr <= 100, "--encoder_lr", self.encoder_lr, "must be above 0, at most 100, such as 0.1")
        decay = self.lr_decay_by_depth
        check(0 < decay <= 1, "--lr_decay_by_depth", decay, "must be above 0 and at most 1, such as 0.75")
        check(0 <= self.momentum < 1, "--momentum", self.momentum, "must be at least 0 and less than 1")
        for name in ("weight_decay", "warmup_steps"):
            check(getattr(self, name) >= 0, f"--{name}", getattr(self, name), "must not be negative")
        for name in ("lr", "weight_decay", "rescale"):
            check(abs(getattr(self, name)) <= MAX_RATE, f"--{name}", getattr(self, name), f"must be at most {MAX_RATE}")
        clip = self.clip_grad
        check(clip is None or 0 < clip <= MAX_RATE, "--clip_grad", clip, "must be positive, such as 1")
        check(0 <= self.ema < 1, "--ema", self.ema, "must be at least 0 and less than 1, such as 0.999")
        if self.amsgrad and "amsgrad" not in optimizer_options(self.optimizer):
            takers = " or ".join(f"--{name}" for name in OPTIMIZERS if "amsgrad" in optimizer_options(name))
            raise OptionError(f"--amsgrad: {self.optimizer} has no such variant; add {takers}, or leave it out")
        try:
            self.create([{"params": [torch.zeros(1, requires_grad=True)]}])
        except (TypeError, ValueError) as error:
            raise OptionError(
                f"--optimizer {self.optimizer} --optimizer_args {self.optimizer_args}: {error}"
            ) from error

    def create(self, groups: list[dict]) -> torch.optim.Optimizer:
        """The optimizer over parameter groups."""
        own = optimizer_options(self.optimizer)
        old = {name: getattr(self, name) for name in ("momentum", "amsgrad") if name in own}
        given = parse_keywords("--optimizer_args", self.optimizer_args, f"--optimizer {self.optimizer}", own)
        return OPTIMIZERS[self.optimizer](groups, self.lr, **old | given)
