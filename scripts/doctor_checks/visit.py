"""What the doctor's checks share: the data and the run that they look at."""

from dataclasses import dataclass, field
from pathlib import Path

from config import TrainConfig
from datasets.base import Split
from datasets.checks.inspection import SampleFacts


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
        facts: The samples that were read, by split.
        details: Plain data for the JSON file, beside the findings.
    """

    config: TrainConfig
    root: Path
    full: bool
    seed: int
    gpu_memory: float | None = None
    splits: dict[str, Split] = field(default_factory=dict)
    facts: dict[str, list[SampleFacts]] = field(default_factory=dict)
    details: dict = field(default_factory=dict)


def crop_of(config: TrainConfig) -> tuple[int, int]:
    """(height, width) of the training crop."""
    crop = config.augment.crop_size
    return crop if isinstance(crop, tuple) else (crop, crop)
