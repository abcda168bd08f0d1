"""Scores by distance to a boundary and by size of segment: where in the pictures the pixels are lost."""

from collections.abc import Sequence

import numpy as np

from engine.report.charts import bar_chart, line_chart
from engine.report.html import Markup, count, element, join, number, percent, table
from utils.metrics.segments import SEGMENT_SIDES
from utils.metrics.trimap import TRIMAP_WIDTHS

BOUNDARY_NOTE = (
    "A band of w pixels holds the labelled pixels that have another true class in the square of 2w + 1 pixels around"
    " them: w pixels on each side of a straight boundary. A band holds the narrower ones. Mean IoU is over the classes"
    " in a band's truth or predictions, pixel accuracy is the share of its pixels that are right (trimap: Kohli et al."
    " 2009, Krähenbühl and Koltun 2011)."
)
SIZE_NOTE = (
    "A segment is a connected piece of one class in the truth (8 neighbours, ignored pixels left out); its size is its"
    " area, and 32² is the area of a square with sides of 32 pixels. Pixels found: the share of the segments' pixels"
    " that are predicted as their class (recall). The IoU counts false positives too: those of a connected piece of"
    " predictions belong to the size of the true segment of its class that it covers most, those of a piece that covers"
    " none to its own size. Both are means over the classes that have segments (the IoU: or false positives) of that"
    " size."
)


def boundary_section(counts: np.ndarray, matrix: np.ndarray, names: Sequence[str]) -> Markup:
    """Trimap curve and tables from `trimap_counts` summed over images, (3,C,bands), and the confusion matrix (C,C)."""
    hits = matrix.diagonal()
    whole = np.stack([matrix.sum(1), hits, matrix.sum(0) - hits])
    counts = np.concatenate([counts, whole[..., None]], axis=2)
    labels = [*map(str, TRIMAP_WIDTHS), "all"]
    pixels = counts[0].sum(axis=0).tolist()
    mean_iou = [_mean(column) for column in _iou(counts).T.tolist()]
    accuracy = _shares(counts[1].sum(axis=0), counts[0].sum(axis=0)).tolist()
    accuracy = [None if value != value else value for value in accuracy]
    chart = line_chart(
        "Scores within a band along true class boundaries, %",
        "width of the band, pixels to each side",
        range(len(labels)),
        {"mean IoU": mean_iou, "pixel accuracy": accuracy},
        x_labels=dict(enumerate(labels)),
        y_limits=(0.0, 1.0),
    )
    rows = [
        [label, number(percent(n / pixels[-1]), n), number(percent(iou), iou), number(percent(right), right)]
        for label, n, iou, right in zip(labels, pixels, mean_iou, accuracy, strict=True)
    ]
    overall = table(["band", "% of pixels", "mean IoU %", "pixel accuracy %"], rows)
    per_class = _class_details("IoU of each class by width of the band, %", names, _iou(counts), labels)
    return join(
        [element("div", chart.figure(), overall, class_="pair"), per_class, element("p", BOUNDARY_NOTE, class_="note")]
    )


def size_section(counts: np.ndarray, names: Sequence[str]) -> Markup:
    """Bars and tables from `segment_counts` summed over images, (4,C,sizes)."""
    segments, pixels, hits, _ = counts
    sides = [f"{side}²" for side in SEGMENT_SIDES]
    labels = [f"< {sides[0]}", *(f"{a}–{b}" for a, b in zip(sides, sides[1:], strict=False)), f"≥ {sides[-1]}"]
    found = [_mean(column) for column in _shares(hits, pixels).T.tolist()]
    mean_iou = [_mean(column) for column in _iou(counts[1:]).T.tolist()]
    chart = bar_chart(
        "Scores by size of the segments, mean over classes, %",
        "area of the segments, pixels",
        labels,
        {"pixels found": found, "IoU": mean_iou},
    )
    rows = [
        [label, number(count(n), n), number(count(area), area), number(percent(a), a), number(percent(b), b)]
        for label, n, area, a, b in zip(
            labels, segments.sum(axis=0).tolist(), pixels.sum(axis=0).tolist(), found, mean_iou, strict=True
        )
    ]
    overall = table(["area", "segments", "pixels", "found %", "IoU %"], rows)
    per_class = _class_details("IoU of each class by size, %", names, _iou(counts[1:]), labels)
    return join(
        [element("div", chart.figure(), overall, class_="pair"), per_class, element("p", SIZE_NOTE, class_="note")]
    )


def _class_details(title: str, names: Sequence[str], shares: np.ndarray, labels: Sequence[str]) -> Markup:
    rows = []
    for name, values in zip(names, shares.tolist(), strict=True):
        values = [None if value != value else value for value in values]
        rows.append([name, *(number(percent(value, 1), value) for value in values)])
    return element("details", element("summary", title), table(["class", *labels], rows, sortable=True))


def _iou(counts: np.ndarray) -> np.ndarray:
    """(3,C,n) pixels, hits and false positives -> (C,n) IoU, nan where the class is absent."""
    return _shares(counts[1], counts[0] + counts[2])


def _shares(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def _mean(values: Sequence[float]) -> float | None:
    present = [value for value in values if value == value]
    return sum(present) / len(present) if present else None
