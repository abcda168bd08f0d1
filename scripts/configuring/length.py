"""How long a run may be: measured speed and a budget -> epochs, validations, and what depends on the steps."""

import math
from dataclasses import dataclass

from scripts.configuring.choices import Choice
from utils.errors import OptionError

AIM, FEW_EPOCHS = 0.95, 20  # of the budget; so many epochs leave at most a twentieth of it
VALIDATING, MOST_VALIDATIONS = 0.1, 10  # fraction of the budget; how many there may be
AVERAGED, LEAST_DECAY, MOST_DECAY = 0.25, 0.9, 0.999  # of the steps, that the weight average is over
WARMUP_SHARE, MOST_WARMUP = 0.05, 100


@dataclass(frozen=True)
class Speed:
    """Seconds on this machine.

    Attributes:
        start: Before the first step: imports, looking at all files, building.
        step: Of an optimizer step, with its data.
        epoch: At the end of each epoch: saving, records.
        validation: Of a validation besides its images: saving, pictures, report.
        image: Of a validation image.
        steps: Steps that were measured.
    """

    start: float
    step: float
    epoch: float
    validation: float
    image: float
    steps: int = 0


@dataclass(frozen=True)
class Length:
    """A run.

    Attributes:
        steps: All of them; the last epoch may be cut short.
        val_every: Epochs between validations.
        steps_per_epoch: Of the data and the batch.
        val_images: Of a validation.
    """

    steps: int
    val_every: int
    steps_per_epoch: int
    val_images: int

    @property
    def epochs(self) -> int:
        """The one that is cut short included."""
        return -(-self.steps // self.steps_per_epoch)

    @property
    def validations(self) -> int:
        """Those of `val_every`, and the last epoch's."""
        return -(-self.epochs // self.val_every)

    def seconds(self, speed: Speed) -> float:
        """From the start of the program to its end."""
        validations = self.validations * (speed.validation + self.val_images * speed.image)
        return speed.start + self.steps * speed.step + self.epochs * speed.epoch + validations


def longest(speed: Speed, steps_per_epoch: int, val_images: int, budget: float) -> Length | None:
    """The most epochs that end within `AIM` of `budget` seconds; None: not even one does.

    A tenth of the time goes to validations, of which there are at least one and at most ten. Where there are few
    epochs, steps of one more fill the time.
    """
    each, limit = max(speed.validation + val_images * speed.image, 1e-9), AIM * budget
    wanted = max(1, min(MOST_VALIDATIONS, int(VALIDATING * budget / each)))

    def run(steps: int, epochs: int) -> Length:
        return Length(steps, -(-epochs // wanted), steps_per_epoch, val_images)

    epoch = steps_per_epoch * speed.step + speed.epoch
    epochs = int((limit - speed.start) / epoch)
    while epochs > 0 and (over := run(epochs * steps_per_epoch, epochs).seconds(speed) - limit) > 0:
        epochs -= max(1, int(over / epoch))
    if epochs <= 0:
        return None
    whole = epochs * steps_per_epoch
    if epochs < FEW_EPOCHS:
        more = run(whole + 1, epochs + 1)
        steps = whole + 1 + math.floor((limit - more.seconds(speed)) / speed.step)
        if whole < steps < whole + steps_per_epoch:
            return run(steps, epochs + 1)
    return run(whole, epochs)


def check_budget(speed: Speed, steps_per_epoch: int, val_images: int, hours: float) -> None:
    """Raises `OptionError`, which says what one epoch needs, where the budget has no room for it."""
    if longest(speed, steps_per_epoch, val_images, 3600 * hours) is None:
        needed = Length(steps_per_epoch, 1, steps_per_epoch, val_images).seconds(speed)
        enough = math.ceil(needed / AIM / 3600 * 1000) / 1000
        raise OptionError(
            f"--hours {hours:g}: one epoch of {steps_per_epoch} steps with its start and its validation of"
            f" {val_images} images takes {needed:.0f} s here, even with small crops; give --hours {enough:g} or more"
        )


def choose_length(length: Length, speed: Speed, budget: float) -> list[Choice]:
    """Epochs and validations."""
    each = speed.validation + length.val_images * speed.image
    why = f"{length.seconds(speed) / 60:.1f} of {budget / 60:.1f} minutes: start {speed.start:.1f} s, then epochs of"
    why += f" {length.steps_per_epoch} steps of {speed.step:.3f} s and {speed.epoch:.2f} s to save"
    chosen = Choice("max_epoch", length.epochs, why)
    if length.steps % length.steps_per_epoch:
        chosen = Choice("max_iters", length.steps, f"{why}; the last epoch is cut short")
    return [
        chosen,
        Choice(
            "val_every", length.val_every, f"validations: {length.validations} of {each:.1f} s, a tenth of the time"
        ),
    ]


def choose_averages(steps: int) -> list[Choice]:
    """Warm-up and weight average for so many steps."""
    decay = min(MOST_DECAY, max(LEAST_DECAY, 1 - 1 / max(1.0, AVERAGED * steps)))
    warmup = min(MOST_WARMUP, int(WARMUP_SHARE * steps))
    return [
        Choice("warmup_steps", warmup, f"a twentieth of {steps} steps, at most {MOST_WARMUP}"),
        Choice("ema", round(decay, 4), "an average over about a quarter of the steps, as in the CamVid recipe"),
    ]
