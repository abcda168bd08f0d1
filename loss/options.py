"""Options of the loss."""

import math
from dataclasses import dataclass

from loss.given_weights import parse_class_weights
from loss.registry import ADDED, LOSSES, create_loss, list_losses, loss_options, takes_class_weights
from utils.errors import OptionError
from utils.keywords import describe, parse_keywords
from utils.options import check, numbers, option

OLD_NAMES = {"img_wt_loss": "image_weighted", "jointwtborder": "relaxed_boundary", "ohem": "ohem"}
OLD_OPTIONS = {  # flag -> the options that it sets, by loss
    "ohem_thresh": {"ohem": "thresh"},
    "ohem_min_kept": {"ohem": "min_kept"},
    "batch_weighting": {"image_weighted": "batch_weighting"},
    "wt_bound": {"image_weighted": "upper_bound", "relaxed_boundary": "upper_bound"},
    "strict_bdr_cls": {"relaxed_boundary": "strict_classes"},
}
MAX_CLASSES = 256  # of any data set: what options are tried with before the data is known


def _default(flag: str):
    loss, name = next(iter(OLD_OPTIONS[flag].items()))
    return loss_options(loss)[name].default


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


@dataclass(frozen=True)
class LossOptions:
    """loss"""

    loss: str | None = option(None, "loss; unset: as the old flags below say, else ce")
    loss_args: str = option(
        "", "its options, key=value,...: " + "; ".join(f"{name}: {describe(loss_options(name))}" for name in LOSSES)
    )
    class_weights: str = option(
        "",
        "weights of the classes: a number for each; name=weight,... (others 1); or balanced, by median frequency. Of "
        + ", ".join(filter(takes_class_weights, LOSSES)),
    )
    add_loss: str = option(
        "", f"losses that are added for the main output, name:weight,... of {', '.join(ADDED)}; such as dice:0.5"
    )
    teacher: str | None = option(None, "snapshot whose probabilities are learnt beside the labels")
    teacher_weight: float = option(1.0, "weight of that")
    aux_weight: float = option(1.0, "weight of each auxiliary head")
    boundary_weight: float = option(1.0, "weight of the boundary head")
    ohem: bool = option(False, "= --loss ohem; with --jointwtborder what takes over at --rlx_off_epoch")
    ohem_thresh: float = option(_default("ohem_thresh"), "OHEM's thresh")
    ohem_min_kept: int = option(_default("ohem_min_kept"), "OHEM's min_kept, per process")
    img_wt_loss: bool = option(False, "= --loss image_weighted")
    batch_weighting: bool = option(False, "its batch_weighting")
    wt_bound: float = option(_default("wt_bound"), "upper_bound of image_weighted, relaxed_boundary", flags=("-wb",))
    jointwtborder: bool = option(False, "= --loss relaxed_boundary")
    strict_bdr_cls: tuple = option(_default("strict_bdr_cls"), "its strict_classes", parse=numbers(int))
    rlx_off_epoch: int = option(-1, "epoch at which ce, or with --ohem OHEM, takes over from it; -1: never")

    def __post_init__(self) -> None:
        for name in ("aux_weight", "boundary_weight", "teacher_weight"):
            check(getattr(self, name) >= 0, f"--{name}", getattr(self, name), "must not be negative")
        if self.teacher and self.teacher_weight == 0:
            raise OptionError("--teacher_weight 0: nothing is learnt of the teacher; leave --teacher out")
        self._check_names()
        self._check_smoothing()
        for flag, places in OLD_OPTIONS.items():
            for loss, name in places.items():
                self._try(loss, {name: getattr(self, flag)}, f"--{flag} {getattr(self, flag)}")
        parse_class_weights(self.class_weights)
        if self.class_weights and not takes_class_weights(self.name):
            takers = " or ".join(filter(takes_class_weights, LOSSES))
            raise OptionError(f"--class_weights: --loss {self.name} takes none; leave it out, or give --loss {takers}")
        given = self._parse_args()
        self._try(self.name, given, f"--loss_args {self.loss_args}")
        for flag, places in OLD_OPTIONS.items():
            name = places.get(self.name)
            if name in given and getattr(self, flag) not in (_default(flag), given[name]):
                raise OptionError(f"--loss_args {name}={given[name]} --{flag} {getattr(self, flag)}: choose one")
        object.__setattr__(self, "loss", self.name)  # both spellings are one setting, when a run is resumed too
        for flag, name in OLD_NAMES.items():
            object.__setattr__(self, flag, getattr(self, flag) or name == self.loss)

    def _check_smoothing(self) -> None:
        """Refuses label smoothing beside what isn't the cross entropy of all labelled pixels.

        Alone it only lowers the true class's logit, which OHEM would leave to pixels that the main loss passes over.
        """
        weight = self.added.get("label_smoothing")
        if weight is None:
            return
        check(weight < 1, "--add_loss", f"label_smoothing:{weight:g}", "must be below 1, the share of a label")
        if self.class_weights or self.name != "ce":
            other = "--class_weights" if self.class_weights else f"--loss {self.name}"
            raise OptionError(f"--add_loss label_smoothing {other}: it smooths labels that count alike; choose one")

    def _check_names(self) -> None:
        """Refuses an unknown loss, and flags that name several."""
        known = ", ".join(list_losses())
        check(self.loss is None or self.loss in LOSSES, "--loss", self.loss, f"no such loss; choose one of {known}")
        named = [flag for flag in OLD_NAMES if getattr(self, flag)]
        main = [flag for flag in named if flag != "ohem" or self.name != "relaxed_boundary"]
        names = [f"--{flag}" for flag in main] + ([f"--loss {self.loss}"] if self.loss else [])
        if {OLD_NAMES[flag] for flag in main} | {self.loss or self.name} != {self.name}:
            raise OptionError(f"{' '.join(names)}: name different losses; choose one")

    @staticmethod
    def _try(loss: str, options: dict, flag: str) -> None:
        """Refuses, in the name of `flag`, what the loss's constructor refuses."""
        try:
            create_loss(LOSSES[loss], MAX_CLASSES, MAX_CLASSES - 1, options)
        except (TypeError, ValueError) as error:
            known = describe(loss_options(loss))
            raise OptionError(f"{flag}: {error} (--loss {loss}; its options: {known})") from error

    def _parse_args(self) -> dict:
        return parse_keywords("--loss_args", self.loss_args, f"--loss {self.name}", loss_options(self.name))

    def notes(self) -> list[str]:
        """A line for each option that has no effect, as this run's loss is another."""
        used = {self.name} | ({self.hard_name} if self.rlx_off_epoch >= 0 else set())
        places = {flag: set(OLD_OPTIONS[flag]) for flag in OLD_OPTIONS if getattr(self, flag) != _default(flag)}
        if self.rlx_off_epoch >= 0:
            places["rlx_off_epoch"] = {"relaxed_boundary"}
        before = self.name == "relaxed_boundary" and self.ohem and self.rlx_off_epoch < 0
        idle = ["--ohem has no effect: it follows where relaxation ends, and no --rlx_off_epoch says when"] * before
        return idle + [
            f"--{flag} has no effect: it is an option of --loss {' and '.join(sorted(losses))}, and this run's loss is"
            f" {self.name}"
            for flag, losses in places.items()
            if not losses & used
        ]

    @property
    def name(self) -> str:
        """Name of the criterion."""
        return self.loss or next((name for flag, name in OLD_NAMES.items() if getattr(self, flag)), "ce")

    @property
    def hard_name(self) -> str:
        """Name of the criterion that takes over from relaxation."""
        return "ohem" if self.ohem else "ce"

    @property
    def added(self) -> dict[str, float]:
        """Weights of the losses of `--add_loss`, by name."""
        found: dict[str, float] = {}
        for part in filter(None, self.add_loss.split(",")):
            name, _, weight = part.strip().partition(":")
            known = f"no such loss to add; choose of {', '.join(ADDED)}, as in dice:0.5"
            check(name in ADDED, "--add_loss", part, known)
            check(name not in found, "--add_loss", self.add_loss, f"{name} is there twice; leave one out")
            found[name] = _weight(weight)
            check(
                0 < found[name] < math.inf, "--add_loss", part, "needs a weight above 0 behind a colon, as in dice:0.5"
            )
        return found

    def arguments(self, loss: str) -> dict:
        """Options of one of this run's criteria: those of the old flags, then of `--loss_args`."""
        old = {places[loss]: getattr(self, flag) for flag, places in OLD_OPTIONS.items() if loss in places}
        return old | (self._parse_args() if loss == self.name else {})
