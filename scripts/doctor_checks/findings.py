"""What the doctor's checks share: the visit that they look at, and the findings that they return."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from config import TrainConfig
from datasets.base import Split
from datasets.checks.inspection import SampleFacts

SEVERITIES = ("ok", "note", "warning", "error")


@dataclass(frozen=True)
class Finding:
    """One line of the checklist.

    Attributes:
        severity: One of `SEVERITIES`; only an error says that training can't work.
        what: One sentence.
        where: Files, each with what is wrong with it.
        remedy: A flag or a command; empty where nothing is to be done.
        exit_code: Of an error, as in `utils.errors`; 3 is unusable data.
        table: Lines shown below, for people; tools find the figures in the JSON file's `details`.
    """

    severity: str
    what: str
    where: tuple[str, ...] = ()
    remedy: str = ""
    exit_code: int = 3
    table: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        assert self.severity in SEVERITIES


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

    @property
    def train(self) -> Split | None:
        """The training split, if it could be built."""
        return self.splits.get(self.config.data.train_split)

    def read(self, split: str) -> str:
        """How much of a split was read, in words."""
        whole, part = len(self.splits[split]), len(self.facts.get(split, []))
        return f"all {whole}" if whole == part else f"{part} of {whole}"


def some(things: Iterable[object], most: int = 6) -> str:
    """The first few of some things, separated by commas."""
    listed = [str(thing) for thing in things]
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def many(count: int, noun: str) -> str:
    """A number and a noun."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def gib(size: float) -> str:
    """Bytes in words."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**29 else f"{size / 2**20:.0f} MiB"
