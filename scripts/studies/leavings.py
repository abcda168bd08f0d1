"""From what train.py and eval.py left of a run to its record."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from config import TrainConfig, parse_train
from engine.evaluation.score_files import METRICS, load_per_image
from scripts.studies.keys import plain_options
from scripts.studies.programs import Clock, run_program
from scripts.studies.record import RunRecord, pack, thin_curve
from utils.errors import DataError, OptionError
from utils.files import file_sha256, read_json

DIGEST = re.compile(r"final weights sha256: ([0-9a-f]{64})")


@dataclass(frozen=True)
class TrainedRun:
    """A run's folder, `config.json` and options as they were given there."""

    folder: Path
    config: TrainConfig
    options: dict
    precision: str
    content: Mapping  # of config.json

    @classmethod
    def open(cls, folder: Path) -> "TrainedRun":
        """Raises `DataError` where it isn't one, `OptionError` where it has options that there are no more."""
        path = folder / "config.json"
        if not path.exists():
            raise DataError(f"{folder}: no run of train.py; it holds no config.json")
        content = read_json(path)
        try:
            config = _parsed(tuple(content.get("arguments") or shlex.split(content["command"])[2:]))
            options, precision = plain_options(config), str(content["amp"])
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise DataError(f"{path}: not what train.py writes ({error!r}); name the folder of a run") from error
        except OptionError as error:
            raise OptionError(f"{path}: {error}") from error
        return cls(folder, config, options, precision, content)

    @property
    def snapshot(self) -> Path:
        """What is scored: `best.pth`, else `last.pth`. Raises `DataError` where there is neither."""
        for name in ("best.pth", "last.pth"):
            if (self.folder / name).exists():
                return self.folder / name
        raise DataError(f"{self.folder}: holds neither best.pth nor last.pth; train it to its end")

    @property
    def _images_per_step(self) -> int:
        processes = self.content.get("processes", 1)
        schedule = self.config.for_processes(processes).schedule
        return schedule.bs_mult * schedule.accumulate * processes

    def evaluate(self, split: str, clock: Clock, anew: bool = False) -> Path:
        """Score it as eval.py does by itself, unless that is done; returns the folder of the scores.

        Args:
            split: What it is scored on.
            clock: When to stop.
            anew: Also where it is done, since images or labels may have changed.
        """
        folder, data = self.folder / f"eval_{split}", self.config.data
        if _is_scored(folder, self.snapshot) and not anew:
            return folder
        what = [f"--snapshot={self.snapshot}", f"--data_root={data.root}", f"--cv_split={data.cv}", f"--split={split}"]
        how = [f"--device={self.config.compute.device}", f"--num_workers={data.num_workers}", "--resume"]
        run_program("eval.py", [*what, f"--save_dir={folder}", *how], self.folder / f"eval_{split}.log", clock)
        return folder

    def record(self, scores: Path, data: Mapping[str, str], memory: int | None) -> RunRecord:
        """The record of the run, with the scores in that folder; see `RunRecord` for `data` and `memory`."""
        metrics = read_json(scores / METRICS)
        evaluation, classes = load_per_image(scores)
        rows = _read_curve(self.folder / "metrics.jsonl")
        log = self.folder / "log.txt"
        digests = DIGEST.findall(log.read_text(errors="replace")) if log.exists() else []
        return RunRecord(
            options=self.options,
            data=dict(data),
            precision=self.precision,
            dataset=metrics["dataset"],
            split=metrics["split"],
            protocol=metrics["protocol"],
            revision=self.content.get("revision"),
            versions=self.content.get("versions", {}),
            weights_sha256=digests[-1] if digests else None,
            snapshot=self.snapshot.name,
            snapshot_sha256=metrics["snapshot_sha256"],
            curve=thin_curve(rows),
            seconds=_training_seconds(rows, self._images_per_step),
            memory=memory,
            classes=classes,
            images=[image.name for image in evaluation.images],
            counts=pack(np.stack([image.class_counts for image in evaluation.images])),
        )


@cache
def _parsed(arguments: tuple[str, ...]) -> TrainConfig:
    """Arguments of train.py -> what they mean; to check that a model can be built takes a second."""
    return parse_train(arguments)


def _is_scored(folder: Path, snapshot: Path) -> bool:
    """True if the folder holds the scores of this file."""
    path = folder / METRICS
    return path.exists() and read_json(path).get("snapshot_sha256") == file_sha256(snapshot)


def _read_curve(path: Path) -> list[dict]:
    """The epochs of `metrics.jsonl`; none where there is no such file."""
    if not path.exists():
        return []
    try:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        if not all(row["images_per_second"] > 0 < row["step"] for row in rows):
            raise ValueError("a step or a speed that isn't positive")
    except (ValueError, TypeError, LookupError) as error:
        raise DataError(f"{path}: a line is damaged ({error!r}); train again") from error
    return rows


def _training_seconds(rows: Sequence[dict], images: int) -> float | None:
    """What all steps of so many images took, without validation and what a kill cost; None: no epoch was finished."""
    before, seconds = 0, 0.0
    for row in rows:
        seconds += (row["step"] - before) * images / row["images_per_second"]
        before = row["step"]
    return seconds if rows else None
