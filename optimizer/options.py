"""Options of the optimizer, its schedule and the weight average."""

from dataclasses import dataclass

from utils.errors import OptionError
from utils.options import check, option

MAX_RATE = 1e30  # what single precision holds, with some room


@dataclass(frozen=True)
class OptimizerOptions:
    """optimizer and schedule"""

    optimizer: str = option("sgd", "optimizer", choices=("sgd", "adam", "adamw"))
    lr: float = option(0.002, "base learning rate")
    lr_schedule: str = option("poly", "learning rate over time", choices=("poly", "scl-poly"))
    poly_exp: float = option(1.0, "exponent of poly")
    repoly: float = option(1.5, "exponent after relaxation ends (scl-poly)")
    rescale: float = option(1.0, "factor after relaxation ends (scl-poly)")
    warmup_steps: int = option(0, "steps of linear warm-up")
    amsgrad: bool = option(False, "Adam's AMSGrad variant")
    weight_decay: float = option(1e-4, "weight decay")
    no_decay_norm_bias: bool = option(False, "no weight decay on norms and biases")
    momentum: float = option(0.9, "momentum of SGD")
    ema: float = option(0.0, "decay of the weight average, which is then validated and saved as best; 0: off")

    def __post_init__(self) -> None:
        check(self.lr > 0, "--lr", self.lr, "must be positive")
        check(0 <= self.momentum < 1, "--momentum", self.momentum, "must be at least 0 and less than 1")
        for name in ("weight_decay", "warmup_steps"):
            check(getattr(self, name) >= 0, f"--{name}", getattr(self, name), "must not be negative")
        for name in ("lr", "weight_decay", "rescale"):
            check(abs(getattr(self, name)) <= MAX_RATE, f"--{name}", getattr(self, name), f"must be at most {MAX_RATE}")
        check(0 <= self.ema < 1, "--ema", self.ema, "must be at least 0 and less than 1")
        if self.amsgrad and self.optimizer == "sgd":
            raise OptionError("--amsgrad: is a variant of Adam, but the optimizer is sgd; add --adam or leave it out")
