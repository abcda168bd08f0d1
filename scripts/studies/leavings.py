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
    content: Mapping  # of config.json

    @classmethod
    def open(cls, folder: Path) -> "TrainedRun":
        """Raises `DataError` where it isn't one, `OptionError` where it has options that there are no more."""
        path = folder / "config.json"
        if not path.exists():
            raise DataError(f"{folder}: no run of train.py; it holds no config.json")
        content = read_json(path)
        try:
            config = _parsed(content["command"])
            options = plain_options(config)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise DataError(f"{path}: not what train.py writes ({error!r}); name the folder of a run") from error
        except OptionError as error:
            raise OptionError(f"{path}: {error}") from error
        return cls(folder, config, options, content)

    @property
    def snapshot(self) -> Path:
        """What is scored: `best.pth`, else `last.pth`. Raises `DataError` where there is neither."""
        for name in ("best.pth", "last.pth"):
            if (self.folder / name).exists():
                return self.folder / name
        raise DataError(f"{self.folder}: holds neither best.pth nor last.pth; train it to its end")

    def evaluate(self, split: str, clock: Clock) -> Path:
        """Score it as eval.py does by itself, unless that is done; returns the folder of the scores."""
        folder, data = self.folder / f"eval_{split}", self.config.data
        if _is_scored(folder, self.snapshot):
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
            precision=self.content["amp"],
            dataset=metrics["dataset"],
            split=metrics["split"],
            protocol=metrics["protocol"],
            revision=self.content.get("revision"),
            versions=self.content.get("versions", {}),
            weights_sha256=digests[-1] if digests else None,
            snapshot=self.snapshot.name,
            snapshot_sha256=metrics["snapshot_sha256"],
            curve=thin_curve(rows),
            seconds=_training_seconds(rows, self.options, self.content.get("processes", 1)),
            memory=memory,
            classes=classes,
            images=[image.name for image in evaluation.images],
            counts=pack(np.stack([image.class_counts for image in evaluation.images])),
        )


@cache
def _parsed(command: str) -> TrainConfig:
    """`python train.py ...` -> what it means; to check that a model can be built takes a second."""
    return parse_train(shlex.split(command)[2:])


def _is_scored(folder: Path, snapshot: Path) -> bool:
    """True if the folder holds the scores of this file."""
    path = folder / METRICS
    return path.exists() and read_json(path).get("snapshot_sha256") == file_sha256(snapshot)


def _read_curve(path: Path) -> list[dict]:
    """The epochs of `metrics.jsonl`; none where there is no such file."""
    if not path.exists():
        return []
    try:
        return [json.loads(line) for line in path.read_text().splitlines()]
    except ValueError as error:
        raise DataError(f"{path}: a line is damaged ({error}); train again") from error


def _training_seconds(rows: Sequence[dict], options: Mapping, processes: int) -> float | None:
    """What all steps took, without validation and without what a kill cost; None: no epoch was finished."""
    images, before, seconds = options["bs_mult"] * options["accumulate"] * processes, 0, 0.0
    for row in rows:
        seconds += (row["step"] - before) * images / row["images_per_second"]
        before = row["step"]
    return seconds if rows else None
