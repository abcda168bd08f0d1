"""A finished run in one small file: what it was, how it went, and the counts of each image it is scored on."""

import base64
import json
import lzma
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from utils.errors import DataError, first_line
from utils.files import write_atomically

FORMAT = 1
CURVE = ("epoch", "step", "train_loss", "val_loss", "mean_iou")
MOST_POINTS = 200  # of a curve


@dataclass(frozen=True)
class RunRecord:
    """A finished run, scored on one split.

    Attributes:
        options: All options of train.py, as they were asked for.
        data: SHA-256 of `train`, `val` and what is scored; of a run that wasn't made by a study only as far as known.
        precision: That was trained in, by `--amp`'s names.
        dataset: Registry name.
        split: That is scored.
        protocol: How it is scored, as in eval.py's `metrics.json`.
        revision: The commit that trained; noted, not compared.
        versions: Of Python and its packages.
        weights_sha256: Of the weights at the end; None: not known.
        snapshot: The file that is scored, `best.pth` or `last.pth`.
        snapshot_sha256: Of it.
        curve: `CURVE` of each epoch, what wasn't measured left out.
        seconds: That the training steps took; None: no epoch was finished.
        memory: Most bytes that the training process held; None: not known.
        classes: Names.
        images: Names.
        counts: Base64 of LZMA of int32 (N,C,3), byte planes apart: of each image and class the pixels in both truth
            and prediction, in the truth, and in the prediction.
    """

    options: dict
    data: dict[str, str]
    precision: str
    dataset: str
    split: str
    protocol: dict
    revision: str | None
    versions: dict[str, str]
    weights_sha256: str | None
    snapshot: str
    snapshot_sha256: str
    curve: list[dict]
    seconds: float | None
    memory: int | None
    classes: list[str]
    images: list[str]
    counts: str

    @property
    def seed(self) -> int:
        """Of the run."""
        return self.options["seed"]

    @property
    def class_counts(self) -> np.ndarray:
        """(N,C,3) int64; see `counts`."""
        planes = np.frombuffer(lzma.decompress(base64.b64decode(self.counts)), np.uint8).reshape(4, -1)
        return planes.T.copy().view("<i4").reshape(len(self.images), len(self.classes), 3).astype(np.int64)

    @property
    def iou_counts(self) -> np.ndarray:
        """(N,C,2) int64: of each image and class the pixels in both truth and prediction, and in either."""
        common, truth, predicted = np.moveaxis(self.class_counts, -1, 0)
        return np.stack([common, truth + predicted - common], -1)


def pack(counts: np.ndarray) -> str:
    """`RunRecord.counts` of (N,C,3) int64."""
    planes = np.ascontiguousarray(counts, "<i4").view(np.uint8).reshape(-1, 4).T
    return base64.b64encode(lzma.compress(planes.tobytes(), preset=9)).decode()


def thin_curve(rows: Sequence[dict]) -> list[dict]:
    """At most `MOST_POINTS` epochs of a run's `metrics.jsonl`, the last one among them, to 5 digits."""
    step = -(-len(rows) // MOST_POINTS)
    kept = list(rows)[::-1][::step][::-1] if rows else []
    return [{key: _short(row[key]) for key in CURVE if row.get(key) is not None} for row in kept]


def _short(value: float) -> float:
    return float(f"{value:.5g}") if isinstance(value, float) else value


def write_record(path: Path, record: RunRecord) -> None:
    """Write it, atomically."""
    text = json.dumps({"format": FORMAT} | asdict(record), allow_nan=False, separators=(",", ":")) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))


def read_record(path: Path) -> RunRecord:
    """What `write_record` left.

    Raises:
        DataError: It is missing, damaged, or no such file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") != FORMAT:
            raise ValueError("another format")
        record = RunRecord(**content)
        if not isinstance(record.seed, int) or (record.class_counts < 0).any():
            raise ValueError("a seed or a count that can't be")
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError, lzma.LZMAError) as error:
        raise DataError(
            f"{path}: no record of a finished run ({first_line(error)}); remove it, and run again"
        ) from error
    return record
