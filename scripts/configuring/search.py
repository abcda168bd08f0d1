"""The search: rules, then the speed of what they chose; smaller images where too few steps fit into the time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from scripts.configuring import length, rules, sizes
from scripts.configuring.choices import Choice, as_options
from scripts.configuring.facts import DataFacts
from scripts.configuring.length import Length, Speed
from scripts.configuring.machine import Machine
from scripts.configuring.sizes import View

FEW_STEPS = 150  # fewer teach little: images are reduced first, until an epoch and so many steps fit
MOST_SHRINK, ROUNDS = 0.5, 4  # of a side, at a time; speeds that are measured at most
WORTH = 0.7  # of what the fewer pixels promise, that smaller images have to save of a step
MUCH_VALIDATING = 0.15  # of the budget, that a single validation may take of enlarged images


class Memory(Protocol):
    """What `engine.training.memory.StepMemory` offers."""

    def largest_batch(self, limit: float, height: int, width: int) -> int:
        """Crops that fit into `limit` bytes."""


@dataclass(frozen=True)
class Trial:
    """A view, all options but those that depend on the speed, and the speed."""

    view: View
    choices: list[Choice]
    speed: Speed
    steps_per_epoch: int

    def is_worth(self, larger: "Trial") -> bool:
        """True if this step is so much shorter than that of larger images as its pixels promise, or nearly."""
        pixels = (sizes.crop_of(self.view) / sizes.crop_of(larger.view)) ** 2
        return self.speed.step <= larger.speed.step * (1 - WORTH * (1 - pixels))


@dataclass(frozen=True)
class Found:
    """A configuration.

    Attributes:
        choices: Its options.
        speed: What was measured with it.
        length: Of the run.
        inference_size: Long side that images are best seen at, where time doesn't matter.
    """

    choices: list[Choice]
    speed: Speed
    length: Length
    inference_size: int


def configure(
    facts: DataFacts,
    machine: Machine,
    hours: float,
    measure: Callable[[dict], Speed],
    memory: Callable[[dict], Memory],
    arch: str | None = None,
) -> Found:
    """The options of a run that ends within `hours`.

    Args:
        facts: Of the data.
        machine: Where it runs.
        hours: From the start of train.py to its end.
        measure: Options -> the speed of a run with them.
        memory: Options of the model -> the memory of its steps.
        arch: The model that was asked for; None: any.

    Raises:
        OptionError: Not even one epoch fits.
    """
    model, budget = rules.choose_model(machine, arch), 3600 * hours
    step_memory = memory(as_options([*model, *rules.choose_precision(machine)]))

    def attempt(view: View) -> Trial:
        chosen = shape(facts, machine, view, model, step_memory)
        options = as_options(chosen)
        return Trial(view, chosen, measure(options), facts.train // options["bs_mult"])

    best = search(attempt, sizes.first_view(facts, machine), facts.val, budget)
    length.check_budget(best.speed, best.steps_per_epoch, facts.val, hours)
    found = length.longest(best.speed, best.steps_per_epoch, facts.val, budget)
    choices = [*length.choose_length(found, best.speed, budget), *length.choose_averages(found.steps)]
    short = best.view.short
    size = sizes.inference_size(facts, short, sizes.enlargement(facts, short / facts.short))
    return Found([*best.choices, *choices], best.speed, found, size)


def search(attempt: Callable[[View], Trial], first: View, val_images: int, budget: float) -> Trial:
    """The first view, or a smaller one where that leaves too few steps and time goes with the pixels."""
    best = attempt(first)
    for _ in range(ROUNDS - 1):
        smaller = next_view(best, val_images, budget)
        if smaller is None:
            break
        trial = attempt(smaller)
        fits = length.longest(best.speed, best.steps_per_epoch, val_images, budget) is not None
        if smaller.short < best.view.short and fits and not trial.is_worth(best):
            break
        best = trial
    return best


def shape(facts: DataFacts, machine: Machine, view: View, model: Sequence[Choice], memory: Memory) -> list[Choice]:
    """All options but those that depend on the speed."""
    crop = sizes.crop_of(view)
    batch = rules.choose_batch(facts, machine, memory.largest_batch(machine.memory, crop, crop))
    return [
        *model,
        *rules.choose_precision(machine),
        *sizes.choose_sizes(facts, view),
        *sizes.choose_sampling(facts, view),
        batch,
        *rules.choose_loading(facts, machine),
        *rules.choose_optimizer(model, batch.value),
    ]


def next_view(trial: Trial, val_images: int, budget: float) -> View | None:
    """What to try where a view leaves too few steps, or takes too long to validate; None: it is good."""
    view, speed = trial.view, trial.speed
    validating = speed.validation + val_images * speed.image
    if view.enlarged > 1 and validating > MUCH_VALIDATING * budget:
        room = (MUCH_VALIDATING * budget - speed.validation) / max(val_images * speed.image, 1e-9) * view.enlarged**2
        less = (by for by in sizes.ENLARGED if by < view.enlarged and by**2 <= room)
        return replace(view, enlarged=next(less, 1.0))
    left = length.AIM * budget - speed.start - validating
    step = speed.step + speed.epoch / trial.steps_per_epoch
    share = max(0.0, left) / step / max(FEW_STEPS, trial.steps_per_epoch)
    if share >= 1 or view.short <= sizes.LEAST_SHORT:
        return None
    # a little less than the root, because not all of a step's time goes with the pixels
    return replace(view, short=max(sizes.LEAST_SHORT, int(view.short * max(MOST_SHRINK, 0.95 * share**0.5))))
