"""Compare two evaluations of the same images: the difference of their IoUs, with an interval.

Usage: python scripts/compare.py A B [--json FILE]

A and B are folders that eval.py left, or docs/results/ID of receipts, whose comparison is then one too and belongs
into docs/results/. The 95 % interval is a paired bootstrap: the same images are drawn again for
both, so that what makes an image hard for both doesn't hide the difference. An interval without 0 is marked with *.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engine.evaluation.score_files import load_per_image
from engine.evaluation.scoring import Evaluation
from utils.cli import run_main
from utils.errors import DataError, OptionError
from utils.files import write_json
from utils.metrics.bootstrap import LEVEL, SEED, difference_intervals
from utils.metrics.confusion import compute_metrics
from utils.options import Parser

SAME = ("dataset", "split")


def receipt_of(folder: Path) -> Path:
    """Where the receipt of a folder of counts is: beside it, with its name."""
    return folder.parent / f"{folder.resolve().name}.json"


def read_metrics(folder: Path) -> dict:
    """The folder's `metrics.json`, or the receipt beside it. Raises `DataError` if it is missing or damaged."""
    path = folder / "metrics.json"
    if not path.exists() and receipt_of(folder).exists():
        path = receipt_of(folder)
    try:
        metrics = json.loads(path.read_text())
        return {key: str(metrics[key]) for key in SAME}
    except (OSError, ValueError, TypeError, LookupError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read ({error}); run eval.py again") from error


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


def compare(first: Evaluation, second: Evaluation, classes: Sequence[str], resamples: int) -> dict:
    """Mean IoU and IoU per class of both, `difference` (second - first) and its interval, as plain data."""
    counts = [np.stack([image.iou_counts for image in evaluation.images]) for evaluation in (first, second)]
    per_class, mean = difference_intervals(*counts, resamples)
    a, b = (compute_metrics(evaluation.confusion, classes) for evaluation in (first, second))
    rows = zip(classes, per_class, strict=True)
    return {
        "mean_iou": _row(a["mean_iou"], b["mean_iou"], mean),
        "per_class": {
            name: _row(a["per_class"][name]["iou"], b["per_class"][name]["iou"], ends) for name, ends in rows
        },
        "num_images": first.num_images,
        "bootstrap": {"over": "images, paired", "level": LEVEL, "resamples": resamples, "seed": SEED},
    }


def _row(a: float | None, b: float | None, interval: list[float] | None) -> dict:
    difference = None if a is None or b is None else b - a
    return {"a": a, "b": b, "difference": difference, "interval": interval}


def table(result: dict) -> list[str]:
    """The comparison as lines for people."""
    lines = [f"{'IoU':<20} {'A':>7} {'B':>7} {'B - A':>8}   95 % interval"]
    for name, row in [*result["per_class"].items(), ("mean", result["mean_iou"])]:
        shown = [_text(row["a"], ".4f"), _text(row["b"], ".4f"), _text(row["difference"], "+.4f")]
        line = f"{name:<20} {shown[0]:>7} {shown[1]:>7} {shown[2]:>8}"
        if row["interval"]:
            low, high = row["interval"]
            line += f"   {low:+.4f} to {high:+.4f}{'' if low <= 0 <= high else '  *'}"
        lines.append(line)
    return lines


def _text(value: float | None, form: str) -> str:
    return "n/a" if value is None else format(value, form)


def run(argv: Sequence[str]) -> None:
    """Parse, compare, print."""
    parser = Parser(prog="compare.py", description=__doc__.splitlines()[0])
    parser.add_argument("a", metavar="A", type=Path, help="folder that eval.py left, or of a receipt's counts")
    parser.add_argument("b", metavar="B", type=Path, help="another, of the same images")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the comparison there")
    parser.add_argument("--bootstrap", type=int, default=2000, help="resamples of the images")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    options = parser.parse_args(argv)
    if options.bootstrap < 1:
        raise OptionError(f"--bootstrap {options.bootstrap}: must be at least 1")
    first, second, classes = load_pair(options.a, options.b)
    if first.num_images < 2:
        raise DataError(f"{options.a}: a single image says nothing about others; compare two or more images")
    result = compare(first, second, classes, options.bootstrap)
    print("\n".join(table(result)))
    if options.json:
        folders = (options.a, options.b)
        if all(receipt_of(folder).exists() for folder in folders):
            about = read_metrics(options.a)
            named = {"receipts": [receipt_of(folder).stem for folder in folders]}
            named |= {key: about[key] for key in SAME}
        else:
            named = {"folders": list(map(str, folders))}
        write_json(options.json, named | result)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(run, argv)


if __name__ == "__main__":
    sys.exit(main())
