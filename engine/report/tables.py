"""Tables of the page as plain data: scores per class, boundary scores, frequent confusions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

CONFUSIONS = 10  # rows of the table of frequent confusions


@dataclass(frozen=True)
class Table:
    """Rows of values, None where there is nothing to measure.

    `columns`: title -> `text` or a kind of `formats.KINDS`. The first cell of a row is its header, before which
    `colors` (RGB, 0 to 255, one a row) shows a square.
    """

    columns: Mapping[str, str]
    rows: Sequence[Sequence]
    sortable: bool = False
    colors: Sequence[Sequence[int]] = ()


def class_table(result: Mapping, palette: Sequence[Sequence[int]]) -> Table:
    """A row per class; the bar under the IoU repeats it."""
    columns = {"class": "text", "IoU %": "percent, bar", "95 % interval": "interval", "precision %": "percent"}
    columns |= {"recall %": "percent", "pixels": "count", "share %": "percent"}
    total = sum(row["pixels"] for row in result["per_class"].values())
    rows = [
        [name, *(row[key] for key in ("iou", "interval", "precision", "recall", "pixels")),
         row["pixels"] / total if total else None]
        for name, row in result["per_class"].items()
    ]  # fmt: skip
    return Table(columns, rows, sortable=True, colors=palette)


def boundary_scores(boundary: Mapping) -> Table:
    """Boundary F-score by threshold and Boundary IoU, of each class and their means; `boundary` as in metrics.json."""
    f_scores, iou = boundary["f_score"], boundary["iou"]
    titles = [*(f"F at {100 * float(threshold):g} %" for threshold in f_scores), "Boundary IoU %"]
    per_class = [*(row["per_class"] for row in f_scores.values()), iou["per_class"]]
    rows = [["mean", *(row["mean_f"] for row in f_scores.values()), iou["mean_iou"]]]
    rows += [[name, *(values[name] for values in per_class)] for name in iou["per_class"]]
    return Table({"class": "text", **dict.fromkeys(titles, "percent")}, rows, sortable=True)


def cityscapes_table(scores: Mapping) -> Table:
    """IoU of the categories and, where they were scored, iIoU of classes and categories; as in metrics.json."""
    rows = [["mean of the categories", scores["average_score_categories"], scores.get("average_score_inst_categories")]]
    weighted = scores.get("category_inst_scores", {})
    rows += [[name, iou, weighted.get(name)] for name, iou in scores["category_scores"].items()]
    if "class_inst_scores" in scores:
        rows.append(["mean of the classes with instances", None, scores["average_score_inst_classes"]])
        rows += [[name, None, value] for name, value in scores["class_inst_scores"].items()]
    return Table({"category or class": "text", "IoU %": "percent", "iIoU %": "percent"}, rows)


def confusion_table(matrix: np.ndarray, names: Sequence[str]) -> Table:
    """The most frequent confusions in a matrix (C,C) or (C,C+1): pixels of one class that are predicted as another.

    `names`: of the columns.
    """
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    most = [divmod(int(i), len(names)) for i in np.argsort(-wrong, axis=None, kind="stable")[:CONFUSIONS]]
    rows = [
        [names[true], names[predicted], int(wrong[true, predicted]), wrong[true, predicted] / matrix[true].sum()]
        for true, predicted in most
        if wrong[true, predicted]
    ]
    columns = {"true class": "text", "predicted as": "text", "pixels": "count", "% of the true class": "percent"}
    return Table(columns, rows)
