"""The files that an evaluation leaves: scores of the split, and of each image."""

import csv
import io
import itertools
import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from engine.evaluation.per_image import ImageResult
from engine.evaluation.scoring import Evaluation
from utils.errors import DataError, first_line
from utils.files import make_folder, write_atomically
from utils.metrics.bootstrap import LEVEL, SEED, accuracy_intervals, iou_intervals
from utils.metrics.confusion import compute_metrics

METRICS, TABLE, COUNTS, REPORT = "metrics.json", "per_image.csv", "per_image.npz", "report.html"
PREDICTIONS = "predictions.json"
SCORES = METRICS, TABLE, COUNTS, REPORT, PREDICTIONS
EARLIER = "earlier"  # subfolder


def archive_previous(folder: Path, names: Sequence[str] = SCORES) -> list[Path]:
    """Move what an earlier evaluation left into a subfolder of its own: `earlier/1`, `earlier/2`, ...

    So whatever becomes of the new evaluation, what lies in `folder` is its own, and nothing is lost.

    Args:
        folder: May be missing.
        names: Of the files and folders.

    Returns:
        Where the files are now.

    Raises:
        EnvironmentFault: `earlier` can't be written.
    """
    found = [name for name in names if (folder / name).exists()]
    if not found:
        return []
    places = (folder / EARLIER / str(number) for number in itertools.count(1))
    place = make_folder(next(place for place in places if not place.exists()), "output folder")
    for name in found:
        os.replace(folder / name, place / name)
    return [place / name for name in found]


def split_metrics(evaluation: Evaluation, names: Sequence[str], resamples: int) -> dict:
    """`compute_metrics` of the split with intervals, `num_images`, `loss` and `confusion_matrix`, as plain data.

    Args:
        evaluation: At least one labelled pixel.
        names: Class names.
        resamples: Resamples of the bootstrap over images; 0: no intervals.
    """
    result = compute_metrics(evaluation.confusion, names)
    counts = np.stack([image.iou_counts for image in evaluation.images])
    classes, result["interval"] = iou_intervals(counts, resamples)
    for row, interval in zip(result["per_class"].values(), classes, strict=True):
        row["interval"] = interval
    result["intervals"] = accuracy_intervals(np.stack([image.class_counts for image in evaluation.images]), resamples)
    result["bootstrap"] = {"over": "images", "level": LEVEL, "resamples": resamples, "seed": SEED}
    result["loss"] = _finite(evaluation.loss)
    result["num_images"] = evaluation.num_images
    result["confusion_matrix"] = evaluation.confusion.tolist()
    return result


def _finite(value: float) -> float | None:
    """`value`, or None where it is nan or infinite: labels alone have no likelihood."""
    return value if math.isfinite(value) else None


def format_metrics(result: dict) -> list[str]:
    """What `split_metrics` gave, and scores of boundaries, Cityscapes and confidence where they are, for people."""
    lines = [f"{name:<20} {_text(row['iou'])}{_range(row['interval'])}" for name, row in result["per_class"].items()]
    meaning = "  95 % interval over images" if result["interval"] else ""
    lines.append(f"{'mean_iou':<20} {_text(result['mean_iou'])}{_range(result['interval'])}{meaning}")
    others = ("pixel_accuracy", "mean_accuracy", "frequency_weighted_iou")
    lines.append(" ".join(f"{name} {_text(result[name])}" for name in others))
    if "boundary" in result:
        f_scores = result["boundary"]["f_score"].items()
        lines += [f"boundary F-score at {threshold}: {_text(row['mean_f'])}" for threshold, row in f_scores]
        lines.append(f"Boundary IoU: {_text(result['boundary']['iou']['mean_iou'])}")
    averages = {"categories": "IoU of categories", "inst_classes": "iIoU", "inst_categories": "iIoU of categories"}
    for key, title in averages.items():
        if f"average_score_{key}" in result.get("cityscapes", {}):
            lines.append(f"{title}: {_text(result['cityscapes'][f'average_score_{key}'])}")
    for name in [name for name in ("confidence", "agreement") if name in result]:
        row = result[name]
        ends = row["intervals"]
        parts = [f"{key} {row[key]:.4f}{_range(ends[key])}" for key in ("ece", "aurc")]
        missing = "" if ends["ece"] else "  (no intervals: fewer than two labelled images, or --bootstrap 0)"
        lines.append(f"{name}: {', '.join(parts)}{missing}")
    return lines


def _text(value: float | None) -> str:
    return "n/a   " if value is None else f"{value:.4f}"


def _range(interval: Sequence[float] | None) -> str:
    return f"  ({interval[0]:.4f} to {interval[1]:.4f})" if interval else ""


def write_per_image(folder: Path, evaluation: Evaluation, names: Sequence[str]) -> None:
    """Write `per_image.csv` for people and `per_image.npz` for `load_per_image`.

    Raises:
        EnvironmentFault: The disk is full; see `write_atomically`.
    """
    write_atomically(folder / TABLE, lambda file: file.write(_table(evaluation, names)))
    arrays = _counts(evaluation) | {"classes": np.array(names)}
    if evaluation.images[0].missed:
        arrays["missed"] = np.ones(len(evaluation.images), np.int64)
    write_atomically(folder / COUNTS, lambda file: np.savez_compressed(file, **arrays))


def _table(evaluation: Evaluation, names: Sequence[str]) -> bytes:
    """CSV: a row per image, a score that doesn't exist left empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "labelled_pixels", "pixel_accuracy", "mean_iou", "loss", *(f"iou {c}" for c in names)])
    for image in evaluation.images:
        row, labelled = compute_metrics(image.confusion, names), image.labelled
        ious = [line["iou"] for line in row["per_class"].values()]
        loss = _finite(image.nll / labelled) if labelled else None
        writer.writerow([image.name, labelled, row["pixel_accuracy"], row["mean_iou"], loss, *ious])
    return text.getvalue().encode("utf-8", "surrogateescape")


def _counts(evaluation: Evaluation) -> dict[str, np.ndarray]:
    """Confusion matrices as one list of cells that are not 0, with the end of each image's part."""
    images = evaluation.images
    return {
        "index": np.array([image.index for image in images], np.int64),
        "name": np.array([image.name for image in images]),
        "nll": np.array([image.nll for image in images], np.float64),
        "end": np.cumsum([len(image.indices) for image in images], dtype=np.int64),
        "cells": np.concatenate([image.indices for image in images]),
        "counts": np.concatenate([image.counts for image in images]),
    }


def load_per_image(folder: Path) -> tuple[Evaluation, list[str]]:
    """What `write_per_image` left, without the measures: the evaluation and the names of its classes.

    Raises:
        DataError: The file is missing or damaged.
    """
    path = Path(folder) / COUNTS
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        _check_counts(arrays)
        names, ends = arrays["classes"].tolist(), arrays["end"][:-1]
        cells, counts = np.split(arrays["cells"], ends), np.split(arrays["counts"], ends)
        columns = (arrays["index"].tolist(), arrays["name"].tolist(), cells, counts, arrays["nll"].tolist())
        missed = "missed" in arrays
        images = [
            ImageResult(i, name, len(names), *rest, missed=missed) for i, name, *rest in zip(*columns, strict=True)
        ]
    except Exception as error:  # NumPy and zipfile raise many kinds for damaged files
        raise DataError(f"{path}: cannot be read ({first_line(error)}); run eval.py again") from error
    return Evaluation(images, len(names)), names


def _check_counts(arrays: dict[str, np.ndarray]) -> None:
    """Raises ValueError, or KeyError for a missing array, unless the arrays fit together."""
    kinds = {"index": "i", "name": "U", "nll": "f", "end": "i", "cells": "i", "counts": "i", "classes": "U"}
    for name, kind in kinds.items():
        if arrays[name].ndim != 1 or arrays[name].dtype.kind != kind:
            raise ValueError(f"{name} is of another kind")
    ends, cells, counts = arrays["end"], arrays["cells"], arrays["counts"]
    if not len(ends) or (np.diff(ends, prepend=0) < 0).any() or not ends[-1] == len(cells) == len(counts):
        raise ValueError("the images' parts don't fit")
    classes = len(arrays["classes"])
    if (counts < 0).any() or (cells < 0).any() or (cells >= classes * (classes + ("missed" in arrays))).any():
        raise ValueError("a count is out of its range")
