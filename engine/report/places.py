"""Scores by distance to a boundary and by size of segment: where in the pictures the pixels are lost."""

from collections.abc import Sequence

import numpy as np

from engine.report.charts import Chart
from engine.report.tables import Table
from utils.metrics.segments import SEGMENT_SIDES
from utils.metrics.trimap import TRIMAP_WIDTHS


def boundary_section(counts: np.ndarray, matrix: np.ndarray, names: Sequence[str]) -> dict:
    """Trimap curve and tables from `trimap_counts` summed over images, (3,C,bands), and the confusion matrix (C,C)."""
    hits = matrix.diagonal()
    whole = np.stack([matrix.sum(1), hits, matrix.sum(0)[: len(names)] - hits])
    counts = np.concatenate([counts, whole[..., None]], axis=2)
    labels = [*map(str, TRIMAP_WIDTHS), "all"]
    pixels = counts[0].sum(axis=0)
    mean_iou, accuracy = _means(_iou(counts)), _values(_ratio(counts[1].sum(axis=0), pixels))
    columns = {"band": "text", "% of pixels": "percent", "mean IoU %": "percent", "pixel accuracy %": "percent"}
    rows = zip(labels, _values(_ratio(pixels, pixels[-1])), mean_iou, accuracy, strict=True)
    return {
        "chart": Chart(
            "Scores within a band along true class boundaries, %",
            "width of the band, pixels to each side",
            range(len(labels)),
            {"mean IoU": mean_iou, "pixel accuracy": accuracy},
            x_labels=labels,
        ),
        "table": Table(columns, list(rows)),
        "per_class": _class_table(names, labels, _iou(counts)),
    }


def size_section(counts: np.ndarray, names: Sequence[str]) -> dict:
    """Bars and tables from `segment_counts` summed over images, (4,C,sizes)."""
    segments, pixels, hits, _ = counts
    sides = [f"{side}²" for side in SEGMENT_SIDES]
    labels = [f"< {sides[0]}", *(f"{a}–{b}" for a, b in zip(sides, sides[1:], strict=False)), f"≥ {sides[-1]}"]
    found, mean_iou = _means(_ratio(hits, pixels)), _means(_iou(counts[1:]))
    columns = {"area": "text", "segments": "count", "pixels": "count", "found %": "percent", "IoU %": "percent"}
    totals = (segments.sum(axis=0).tolist(), pixels.sum(axis=0).tolist())
    return {
        "chart": Chart(
            "Scores by size of the segments, mean over classes, %",
            "area of the segments, pixels",
            range(len(labels)),
            {"pixels found": found, "IoU": mean_iou},
            x_labels=labels,
            bars=True,
        ),
        "table": Table(columns, list(zip(labels, *totals, found, mean_iou, strict=True))),
        "per_class": _class_table(names, labels, _iou(counts[1:])),
    }


def _class_table(names: Sequence[str], labels: Sequence[str], iou: np.ndarray) -> Table:
    rows = [[name, *_values(row)] for name, row in zip(names, iou, strict=True)]
    return Table({"class": "text", **dict.fromkeys(labels, "percent1")}, rows, sortable=True)


def _iou(counts: np.ndarray) -> np.ndarray:
    """(3,C,n) pixels, hits and false positives -> (C,n) IoU, nan where the class is absent."""
    return _ratio(counts[1], counts[0] + counts[2])


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def _values(row: np.ndarray) -> list[float | None]:
    return [None if value != value else value for value in row.tolist()]


def _means(ratios: np.ndarray) -> list[float | None]:
    """(C,n) -> n means over the classes that have a value."""
    columns = [[value for value in column if value == value] for column in ratios.T.tolist()]
    return [sum(column) / len(column) if column else None for column in columns]
