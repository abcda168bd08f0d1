"""A figure of mean IoU over images a second: each model in its fastest float32, bf16 and int8 form.

Usage: python -m scripts.benchmarks.speed_accuracy BENCH.json [BENCH.json ...] --out docs/speed-accuracy.svg

BENCH.json is what `python scripts/benchmark.py cpu-demo --snapshot FILE --size H,W --json BENCH.json` wrote, all on one
machine and the same images.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from engine.report.charts import Chart, draw_file
from scripts.benchmarks.cpu_demo_arms import precision_of
from utils.cli import run_main
from utils.errors import DataError
from utils.files import read_json, write_atomically

MARGIN = 0.01  # of mIoU, below the lowest and above the highest score


class Point(NamedTuple):
    """One form of a model."""

    precision: str
    images_per_second: float
    mean_iou: float


def fastest(arms: Mapping[str, Mapping]) -> list[Point]:
    """Of each precision the fastest arm, slowest first."""
    best: dict[str, Point] = {}
    for name, row in arms.items():
        point = Point(precision_of(name), 1 / row["median"], row["mean_iou"])
        if name != "plain" and point.images_per_second > best.get(point.precision, Point("", 0, 0)).images_per_second:
            best[point.precision] = point
    return sorted(best.values(), key=lambda point: point.images_per_second)


def read_models(paths: Sequence[Path]) -> tuple[str, dict[str, list[Point]]]:
    """What was measured on, in words, and each model's points.

    Raises:
        DataError: A file is no such benchmark, has no scores, or was measured on something else than the first.
    """
    place, models = None, {}
    for path in paths:
        bench = read_json(path)
        if bench.get("what") != "cpu-demo" or any(row["mean_iou"] is None for row in bench["arms"].values()):
            raise DataError(f"{path}: no scores of `benchmark.py cpu-demo`; measure with --snapshot and --json")
        (height, width), machine = bench["sizes"]["size"], bench["hardware"]
        images = f"{bench['sizes']['images_compared']} images of {bench['data']} val at {width}x{height}"
        here = f"{images}, {machine['threads']} threads of an {machine['name']}"
        if place not in (None, here):
            raise DataError(f"{path}: measured on {here}, {paths[0]} on {place}; measure both on the same")
        place = here
        name = bench["sizes"]["arch"]
        models[name if name not in models else path.stem] = fastest(bench["arms"])
    return place, models


def build_chart(models: Mapping[str, Sequence[Point]]) -> Chart:
    """A line from float32 to int8 for each model."""
    scores = {name: {point.images_per_second: point.mean_iou for point in row} for name, row in models.items()}
    x = [0.0, *sorted({at for found in scores.values() for at in found})]
    series = {name: [found.get(at) for at in x] for name, found in scores.items()}
    values = [score for found in scores.values() for score in found.values()]
    return Chart(
        "Mean IoU, %, in float32, bf16 and int8 (from left to right)",
        "images a second",
        x,
        series,
        y_range=(min(values) - MARGIN, max(values) + MARGIN),
    )


def run(argv: Sequence[str]) -> None:
    """Read, draw, write; say the points."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("benchmarks", nargs="+", type=Path, metavar="BENCH.json")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.svg")
    options = parser.parse_args(argv)
    place, models = read_models(options.benchmarks)
    text = draw_file([build_chart(models)])
    write_atomically(options.out, lambda file: file.write(text.encode()))
    print(place)
    for name, row in models.items():
        for point in row:
            print(f"{name} {point.precision}: {point.images_per_second:.1f} images/s, mIoU {point.mean_iou:.2%}")


if __name__ == "__main__":
    sys.exit(run_main(run, sys.argv[1:]))
