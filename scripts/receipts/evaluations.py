"""Evaluations that lie in folders: found, read, and refused where they aren't of the same images."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from engine.evaluation.score_files import COUNTS, EARLIER, METRICS, load_per_image
from engine.evaluation.scoring import Evaluation
from utils.errors import DataError

SAME = ("dataset", "split")
BEST = "best.pth"  # in a run's folder


def find_evaluation(folder: Path) -> Path:
    """The evaluation in a folder: the folder itself, or of a run's folder the one subfolder that holds one.

    Raises:
        DataError: A run's folder holds none, or several.
    """
    if (folder / COUNTS).exists() or not (folder / BEST).exists():
        return folder
    found = sorted(path.parent for path in folder.glob(f"*/{COUNTS}") if path.parent.name != EARLIER)
    if len(found) == 1:
        return found[0]
    if found:
        raise DataError(f"{folder}: holds several evaluations; name one of {', '.join(map(str, found))}")
    raise DataError(
        f"{folder}: is a run without an evaluation; python eval.py --snapshot {folder / BEST} --data_root DIR"
        f" --save_dir {folder / 'eval'} leaves one"
    )


def receipt_of(folder: Path) -> Path:
    """Where the receipt of a folder of counts is: beside it, with its name."""
    return folder.parent / f"{folder.resolve().name}.json"


def read_metrics(folder: Path) -> dict:
    """Of the folder's `metrics.json`, or of the receipt beside it: `SAME`, and `protocol`, empty where none is kept.

    Raises:
        DataError: It is missing or damaged.
    """
    path = folder / METRICS
    if not path.exists() and receipt_of(folder).exists():
        path = receipt_of(folder)
    try:
        metrics = json.loads(path.read_text())
        protocol = dict(metrics.get("protocol") or metrics.get("metrics", {}).get("protocol") or {})
        return {key: str(metrics[key]) for key in SAME} | {"protocol": protocol}
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read ({error}); run eval.py again") from error


def protocol_differences(folders: Sequence[Path]) -> dict[str, list]:
    """What the evaluations' protocols don't agree on: name -> the value of each; None where it isn't kept."""
    protocols = [read_metrics(folder)["protocol"] for folder in folders]
    values = {name: [one.get(name) for one in protocols] for name in sorted(set().union(*protocols))}
    return {name: row for name, row in values.items() if any(value != row[0] for value in row)}


def load_pair(a: Path, b: Path) -> tuple[Evaluation, Evaluation, list[str]]:
    """Both evaluations and the names of their classes.

    Raises:
        DataError: They aren't of the same data set, split, classes, images and labels; the message names the first
            difference.
    """
    metrics = [read_metrics(folder) for folder in (a, b)]
    (first, classes), (second, others) = (load_per_image(folder) for folder in (a, b))
    where = f"{a} and {b} can't be compared:"
    for key in SAME:
        if metrics[0][key] != metrics[1][key]:
            raise DataError(f"{where} {key} {metrics[0][key]} and {metrics[1][key]}; evaluate both on one")
    if classes != others:
        raise DataError(f"{where} {len(classes)} and {len(others)} classes, or other names; use one class table")
    names = [{image.name for image in evaluation.images} for evaluation in (first, second)]
    if names[0] != names[1]:
        odd = min(names[0] ^ names[1])
        raise DataError(f"{where} image {odd} is only in {a if odd in names[0] else b}; evaluate the same images")
    for one, other in zip(first.images, second.images, strict=True):
        if one.name != other.name or not np.array_equal(one.confusion.sum(1), other.confusion.sum(1)):
            raise DataError(f"{where} the labels of image {one.name} differ; evaluate both on the same files")
    return first, second, classes
