"""What the doctor's checks share: the data and the run that they look at."""

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from config import TrainConfig
from datasets.base import Split
from datasets.checks.inspection import ImageFacts
from datasets.checks.run import Plan
from datasets.index import SplitIndex
from engine.training.checks import data_plan
from utils.errors import OptionError


@dataclass
class Visit:
    """The data and the run that are looked at.

    Attributes:
        config: What train.py would be asked for.
        root: The data set's folder.
        full: Every file is read.
        seed: Of the choice of samples.
        gpu_memory: GiB to plan for; None: those of this machine's device.
        splits: What could be built, by name; the training split first.
        indexes: What the headers and labels of each split hold, by split.
        facts: The images that were decoded, by split.
        details: Plain data for the JSON file, beside the findings.
    """

    config: TrainConfig
    root: Path
    full: bool
    seed: int
    gpu_memory: float | None = None
    splits: dict[str, Split] = field(default_factory=dict)
    indexes: dict[str, SplitIndex] = field(default_factory=dict)
    facts: dict[str, list[ImageFacts]] = field(default_factory=dict)
    details: dict = field(default_factory=dict)

    @property
    def plan(self) -> Plan:
        """What the run would do with the data."""
        config, train = self.config, self.splits.get(self.config.data.train_split)
        images = 0 if train is None else min(train.epoch_length, config.data.limit_images or train.epoch_length)
        schedule = config.schedule
        with suppress(OptionError):  # a global batch that takes several processes
            schedule = schedule.for_processes(1)
        return data_plan(config.data, config.augment, schedule, config.validation, images)
