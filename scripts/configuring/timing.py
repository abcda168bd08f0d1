"""The speed of a run: the very run in a temporary folder, on some of its images, until it has been seen long enough."""

import contextlib
import io
import time
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from config import TrainConfig
from datasets.checks.inspection import choose_samples
from datasets.dataset import load_pair
from datasets.part import SubsetSplit
from engine.training.build import build_trainer
from engine.training.run_folder import RunFolder
from engine.training.start import Indexes, Splits
from engine.training.trainer import Trainer
from scripts.configuring.length import Speed
from utils.distributed import Process
from utils.signals import StopRequest
from utils.threads import parallel_map

STEPS = {"cpu": 3, "cuda": 50}  # of a miniature epoch; a GPU ends its last step after the host, in what follows
MOST_STEPS, VALIDATED = 200, 16  # steps that are measured, images of a validation
LONG = 10**6  # epochs: the run is stopped


class Data(NamedTuple):
    """What is trained on, what its files hold, and the seconds that it took to look at them all."""

    splits: Splits
    indexes: Indexes
    seconds: float


class Stopwatch:
    """What the trainer asks whether to stop, as an epoch begins and after each step: so it hears of each one's time.

    The first epoch warms up and isn't counted.

    Args:
        seconds: After them the run is stopped at the end of an epoch, but not before two are measured.
        steps: Of an epoch.
    """

    saveable = False

    def __init__(self, seconds: float, steps: int) -> None:
        self.seconds, self.rhythm, self.times = seconds, steps + 1, []

    @property
    def asked(self) -> bool:
        """True to stop."""
        self.times.append(time.perf_counter())
        epochs, rest = divmod(len(self.times), self.rhythm)
        if rest or epochs < 3:
            return False
        long = self.times[-1] - self.times[self.rhythm] > self.seconds
        return long or (epochs - 1) * (self.rhythm - 1) >= MOST_STEPS

    def result(self) -> tuple[float, float, int]:
        """Seconds of a step and of an epoch's end, and how many steps were measured."""
        rows = np.diff(self.times[self.rhythm :], append=np.nan).reshape(-1, self.rhythm)
        return float(rows[:, :-1].mean()), float(np.nanmean(rows[:, -1])), rows[:, :-1].size


def measure(config: TrainConfig, data: Data, process: Process, seconds: float, imports: float) -> Speed:
    """The speed of the run that `config` describes, with its loss, optimizer, data, snapshots and report.

    Args:
        config: Of the run; results go into its `--ckpt`, a temporary folder.
        data: All of it.
        process: This process.
        seconds: In which steps are measured.
        imports: Seconds that a program takes to load.

    Raises:
        FENetError: What train.py would raise.
    """
    batch, device = config.schedule.bs_mult, process.device.type
    steps = min(STEPS[device], data.splits.train.epoch_length // batch)
    part, indexes, chosen = take_part(data, steps * batch)
    config = replace(
        config,
        schedule=replace(config.schedule, max_epoch=LONG),
        validation=replace(config.validation, eval_epoch=LONG),
    )
    watch, start = Stopwatch(seconds, steps), time.perf_counter()
    with contextlib.redirect_stderr(io.StringIO()), RunFolder(config.run, process) as folder:  # its progress bars
        trainer = build_trainer(config, part, indexes, process, folder, None)
        built = time.perf_counter() - start
        trainer.fit(watch)
        step, epoch, count = watch.result()
        image, validation = time_validation(trainer, epoch)
    passes = 1 + (config.data.cache != "off")  # class centroids, cache
    reading = passes * (data.splits.train.epoch_length - len(chosen)) * seconds_to_read(data.splits.train, chosen)
    return Speed(imports + data.seconds + built + reading, step, epoch, validation, image, count)


def take_part(data: Data, count: int) -> tuple[Splits, Indexes, list[int]]:
    """So many training samples and `VALIDATED` others, what their files hold, and which of the former they are."""
    (train, val), indexes = data.splits, data.indexes
    chosen, shown = choose_samples(train, count, 0), choose_samples(val, VALIDATED, 0)
    part = Splits(SubsetSplit(train, chosen), SubsetSplit(val, shown))
    return part, Indexes(indexes.train.take(np.array(chosen)), indexes.val.take(np.array(shown))), chosen


def time_validation(trainer: Trainer, epoch: float) -> tuple[float, float]:
    """Seconds of a validation's image, and of all else in one; `epoch`: those of an epoch's end without one."""
    validator, most = trainer.validator, trainer.validator.count
    seconds = {}
    with trainer.learner.evaluated_weights() as model:
        for count in (most, 1, most):  # the first time warms up; loader processes start each time
            validator.count, start = count, time.perf_counter()
            validator.validate(model, StopRequest())
            seconds[count] = time.perf_counter() - start
    image = max(0.0, seconds[most] - seconds[1]) / (most - 1) if most > 1 else seconds[1]
    rhythm = replace(trainer.schedule.validation, eval_epoch=0, val_every=1)
    trainer.schedule = replace(trainer.schedule, validation=rhythm)
    start = time.perf_counter()
    trainer.end_epoch(StopRequest())
    return image, max(0.0, time.perf_counter() - start - most * image - epoch)


def seconds_to_read(split: SubsetSplit, indices: list[int]) -> float:
    """Seconds to decode an image and its label, where many are."""
    start = time.perf_counter()
    for _ in parallel_map(partial(load_pair, split), indices):
        pass
    return (time.perf_counter() - start) / len(indices)
