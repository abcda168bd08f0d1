"""Compare evaluations of the same images: the differences of their IoUs to the first, with intervals.

Usage: python scripts/compare.py A B [C...] [--json FILE]

A, B, ... are folders that eval.py left, runs in whose folder one lies, or docs/results/ID of receipts; the comparison
of two receipts is one too and belongs in docs/results/. The 95 % interval is a paired bootstrap: the same images are
drawn again for both, so that what makes an image hard for both doesn't hide the difference. An interval without 0 is
marked with *. Where the protocols differ (scales, flip, ...), that is said first.
"""

import sys
from pathlib import Path

if __name__ == "__main__":  # from anywhere, without installation, and before PyTorch is loaded
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from utils.machine import limit_spinning

    limit_spinning()

import argparse
import json
from collections.abc import Sequence

import numpy as np

from engine.evaluation.scoring import Evaluation
from scripts.receipts.evaluations import (
    SAME,
    find_evaluation,
    load_pair,
    protocol_differences,
    read_metrics,
    receipt_of,
)
from utils.cli import run_main
from utils.errors import DataError, OptionError
from utils.files import write_json
from utils.logging import one_line
from utils.metrics.bootstrap import LEVEL, SEED, difference_intervals
from utils.metrics.confusion import compute_metrics
from utils.options import Parser

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


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


def table(results: Sequence[dict]) -> list[str]:
    """The comparisons of a first evaluation with others as lines for people: of one in full, else a column for each."""
    names = LETTERS[: len(results) + 1]
    several = len(results) > 1
    head = f"{'IoU':<20}" + "".join(f" {name:>7} " if several else f" {name:>7}" for name in names)
    lines = [head if several else f"{head} {'B - A':>8}   95 % interval"]
    for name in [*results[0]["per_class"], "mean"]:
        rows = [result["mean_iou"] if name == "mean" else result["per_class"][name] for result in results]
        if several:
            marks = ["", *(_mark(row["interval"]) for row in rows)]
            values = [rows[0]["a"], *(row["b"] for row in rows)]
            cells = (f" {_text(value, '.4f'):>7}{mark:1}" for value, mark in zip(values, marks, strict=True))
            lines.append(f"{name:<20}" + "".join(cells))
        else:
            shown = [_text(rows[0]["a"], ".4f"), _text(rows[0]["b"], ".4f")]
            lines.append(f"{name:<20} {shown[0]:>7} {shown[1]:>7} {_difference(rows[0])}")
    if several:
        lines += [
            f"{other} - A, mean{'':<9}{_difference(result['mean_iou'])}"
            for other, result in zip(names[1:], results, strict=True)
        ]
    return lines


def _difference(row: dict) -> str:
    """'+0.0123   +0.0050 to +0.0190  *'."""
    shown = f"{_text(row['difference'], '+.4f'):>8}"
    if row["interval"]:
        low, high = row["interval"]
        mark = _mark(row["interval"])
        shown += f"   {low:+.4f} to {high:+.4f}{f'  {mark}' if mark else ''}"
    return shown


def _mark(interval: Sequence[float] | None) -> str:
    return "*" if interval and not interval[0] <= 0 <= interval[1] else ""


def _text(value: float | None, form: str) -> str:
    return "n/a" if value is None else format(value, form)


def describe(given: Sequence[Path], folders: Sequence[Path], differences: dict[str, list]) -> list[str]:
    """Lines that say which folders the letters stand for, where that isn't plain, and how the protocols differ."""
    plain = len(folders) == 2 and list(given) == list(folders)
    lines = [] if plain else [f"{name} = {folder}" for name, folder in zip(LETTERS, folders, strict=False)]
    if differences:
        said = (f"{name} {', '.join(json.dumps(value) for value in row)}" for name, row in differences.items())
        lines.append(f"WARNING: the protocols differ, which alone can change scores: {'; '.join(said)}")
    return lines


def name_sources(folders: Sequence[Path]) -> dict:
    """Where the evaluations are from, for the file: two receipts, or folders."""
    if len(folders) == 2 and all(receipt_of(folder).exists() for folder in folders):
        about = read_metrics(folders[0])
        return {"receipts": [receipt_of(folder).stem for folder in folders]} | {key: about[key] for key in SAME}
    return {"folders": list(map(str, folders))}


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Checked options. Raises `OptionError`."""
    parser = Parser(prog="compare.py", description=__doc__.splitlines()[0])
    parser.add_argument("a", metavar="A", type=Path, help="folder that eval.py left, a run's, or of a receipt's counts")
    parser.add_argument("others", metavar="B", type=Path, nargs="+", help="others, of the same images")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the comparison there")
    parser.add_argument("--bootstrap", type=int, default=2000, help="resamples of the images")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    options = parser.parse_args(argv)
    if options.bootstrap < 1:
        raise OptionError(f"--bootstrap {options.bootstrap}: must be at least 1")
    if len(options.others) >= len(LETTERS):
        raise OptionError(f"{len(options.others) + 1} folders: at most {len(LETTERS)} at once; leave some out")
    return options


def run(argv: Sequence[str]) -> None:
    """Parse, compare, print."""
    options = parse(argv)
    given = [options.a, *options.others]
    folders = [find_evaluation(folder) for folder in given]
    results = []
    for other in folders[1:]:
        first, second, classes = load_pair(folders[0], other)
        if first.num_images < 2:
            raise DataError(f"{folders[0]}: a single image says nothing about others; compare two or more images")
        results.append(compare(first, second, classes, options.bootstrap))
    differences = protocol_differences(folders)
    print("\n".join(map(one_line, [*describe(given, folders, differences), *table(results)])))
    if options.json:
        found = results[0] if len(results) == 1 else {"comparisons": results}
        write_json(options.json, name_sources(folders) | {"protocol_differences": differences} | found)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(run, argv)


if __name__ == "__main__":
    sys.exit(main())
