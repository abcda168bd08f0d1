"""Receipts and comparisons as files: `docs/results/ID.json`, and the counts of each image in `docs/results/ID/`."""

import json
import math
from pathlib import Path

import numpy as np

from engine.evaluation.score_files import COUNTS, load_per_image
from scripts.compare import compare
from scripts.receipts.command import ROOT, parse_command
from scripts.receipts.evaluations import load_pair
from utils.errors import DataError, OptionError
from utils.metrics.bootstrap import iou_intervals
from utils.metrics.confusion import compute_metrics

RESULTS = ROOT / "docs" / "results"
CURVES = "metrics.jsonl"
FIELDS = (
    *("id", "title", "dataset", "variant", "split", "arch", "mean_iou", "interval", "command", "tolerance", "revision"),
    *("data_sha256", "weights_sha256", "seed", "versions", "hardware", "seconds", "metrics"),
)
RESAMPLES = 2000


def load_results(folder: Path) -> tuple[dict[str, dict], dict[str, dict]]:
    """Receipts and comparisons of a folder by id, sorted; other JSON (benchmarks) is passed over.

    Raises:
        DataError: A file is damaged, lacks a field, or has another id than its name.
    """
    receipts, comparisons = {}, {}
    for path in sorted(folder.glob("*.json")):
        try:
            data = json.loads(path.read_text())
        except ValueError as error:
            raise DataError(f"{path}: cannot be read ({error}); restore it from git") from error
        if not isinstance(data, dict):
            continue
        if {"command", "weights_sha256"} <= data.keys():
            if missing := [name for name in FIELDS if name not in data]:
                raise DataError(f"{path}: lacks {', '.join(missing)}; write it again with scripts/make_receipt.py")
            if data["id"] != path.stem:
                raise DataError(f"{path}: has the id {data['id']}; name file and id alike")
            receipts[path.stem] = data
        elif "receipts" in data:
            comparisons[path.stem] = data
    return receipts, comparisons


def find_receipt(name: str, folder: Path) -> dict:
    """The receipt of this id. Raises `OptionError`, which names those that are there."""
    receipts, _ = load_results(folder)
    if name not in receipts:
        raise OptionError(f"{name}: no receipt has this id; there are {', '.join(receipts) or 'none'}")
    return receipts[name]


def check_results(folder: Path) -> list[str]:
    """What in a folder doesn't follow from its own commands and counts, a line each.

    Commands have to be ones that can be run; scores, intervals and comparisons are computed again from the counts of
    the images where those are kept.

    Raises:
        DataError: As `load_results`, a command can't be run, or counts are damaged.
    """
    receipts, comparisons = load_results(folder)
    found = []
    for name, receipt in receipts.items():
        parse_command(receipt["command"], name)
        if (folder / name / COUNTS).exists():
            again = recount(folder / name)
        else:
            rows = [row["iou"] for row in receipt["metrics"]["per_class"].values() if row["iou"] is not None]
            again = {"mean_iou": sum(rows) / len(rows), "metrics": {"mean_iou": receipt["mean_iou"]}}
        found += [f"{name}.json: {key} isn't what {'its counts' if 'interval' in again else 'its classes'} give"
                  for key in again if not contains(receipt[key], again[key])]  # fmt: skip
    for name, comparison in comparisons.items():
        again = recompare(comparison, folder)
        found += [f"{name}.json: {key} isn't what the counts of its receipts give"
                  for key in again if not contains(comparison.get(key), again[key])]  # fmt: skip
    return found


def recount(folder: Path) -> dict:
    """`mean_iou`, `interval` and `metrics` (scores) from the counts of each image. Raises `DataError`."""
    evaluation, classes = load_per_image(folder)
    counts = np.stack([image.iou_counts for image in evaluation.images])
    result = compute_metrics(evaluation.confusion, classes)
    return {"mean_iou": result["mean_iou"], "interval": iou_intervals(counts, RESAMPLES)[1], "metrics": result}


def recompare(comparison: dict, folder: Path) -> dict:
    """The comparison of the same two receipts, from the counts of each image. Raises `DataError`."""
    first, second, classes = load_pair(*(folder / name for name in comparison["receipts"]))
    return compare(first, second, classes, comparison["bootstrap"]["resamples"])


def contains(whole: object, part: object) -> bool:
    """True if `whole` holds all of `part`, numbers to 9 digits."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(contains(whole.get(key), value) for key, value in part.items())
    if isinstance(part, (list, tuple)):
        return (isinstance(whole, (list, tuple)) and len(whole) == len(part)
                and all(map(contains, whole, part)))  # fmt: skip
    if isinstance(part, float) and isinstance(whole, (int, float)):
        return math.isclose(whole, part, rel_tol=1e-9, abs_tol=1e-12)
    return whole == part
