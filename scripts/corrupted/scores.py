"""What the evaluations of all cells say: scores, what is left of the clean one, and intervals."""

from collections.abc import Mapping, Sequence

import numpy as np

from engine.evaluation.score_files import split_metrics
from engine.evaluation.scoring import Evaluation
from scripts.corrupted.cells import Cell, Key
from utils.metrics.bootstrap import LEVEL, bootstrap_iou


class Scores:
    """Scores of cells and of their means; all of them are bootstrapped over the same resamples of the images.

    Args:
        cells: What was counted; `None` is the clean one.
        names: Class names.
        resamples: Of the images; 0: no intervals.
    """

    def __init__(self, cells: Mapping[Key, Cell], names: Sequence[str], resamples: int) -> None:
        self.clean = split_metrics(cells[None].evaluation, names, resamples)
        self.metrics = {key: split_metrics(cells[key].evaluation, names, resamples) for key in cells if key}
        scored = min(sum(image.labelled > 0 for image in cell.evaluation.images) for cell in cells.values())
        drawn = resamples if scored > 1 else 0  # one image says nothing about others
        self._drawn = {key: _resampled(cell.evaluation, drawn) for key, cell in cells.items()} if drawn else {}

    def cell(self, key: Key) -> dict:
        """`mean_iou` and `interval` as eval.py gives them; `relative`, to the clean one, and its interval, paired."""
        row = self.metrics[key]
        return {"mean_iou": row["mean_iou"], "interval": row["interval"]} | self._relative([key])

    def mean(self, keys: Sequence[Key]) -> dict:
        """The same of the mean over several cells."""
        mean_iou = float(np.mean([self.metrics[key]["mean_iou"] for key in keys]))
        interval = _ends(np.mean([self._drawn[key] for key in keys], 0)) if self._drawn else None
        return {"mean_iou": mean_iou, "interval": interval} | self._relative(keys)

    def _relative(self, keys: Sequence[Key]) -> dict:
        clean = self.clean["mean_iou"]
        if not clean:
            return {"relative": None, "relative_interval": None}
        row = {"relative": float(np.mean([self.metrics[key]["mean_iou"] for key in keys])) / clean}
        if not self._drawn:
            return row | {"relative_interval": None}
        with np.errstate(invalid="ignore", divide="ignore"):
            ratios = np.mean([self._drawn[key] for key in keys], 0) / self._drawn[None]
        return row | {"relative_interval": _ends(ratios)}


def _resampled(evaluation: Evaluation, resamples: int) -> np.ndarray:
    """Mean IoU (B,) in each resample; equal numbers of images draw equal ones."""
    return bootstrap_iou(np.stack([image.iou_counts for image in evaluation.images]), resamples)[:, -1]


def _ends(values: np.ndarray) -> list[float] | None:
    """The ends of the interval; resamples without a score are left out."""
    values = values[np.isfinite(values)]
    return np.percentile(values, [50 * (1 - LEVEL), 50 * (1 + LEVEL)]).tolist() if values.size else None


def summarize(cells: Mapping[Key, Cell], names: Sequence[str], resamples: int) -> dict:
    """What robustness.json says of the scores, as plain data.

    Returns:
        `clean` (mean IoU), `clean_interval`, `cells` (corruption -> strength as text -> score), `corruptions` (-> mean
        over the strengths), `mean` (of all cells), `seconds_per_image` (`clean`, `corrupted`), `bootstrap` and
        `num_images`.
    """
    scores, keys = Scores(cells, names, resamples), [key for key in cells if key is not None]
    corruptions = dict.fromkeys(corruption for corruption, _ in keys)
    own = {corruption: [key for key in keys if key[0] == corruption] for corruption in corruptions}
    times = [cells[key].seconds for key in keys if cells[key].seconds is not None]
    return {
        "clean": scores.clean["mean_iou"],
        "clean_interval": scores.clean["interval"],
        "cells": {name: {str(key[1]): scores.cell(key) for key in row} for name, row in own.items()},
        "corruptions": {name: scores.mean(row) for name, row in own.items()},
        "mean": scores.mean(keys),
        "num_images": scores.clean["num_images"],
        "bootstrap": scores.clean["bootstrap"],
        "seconds_per_image": {"clean": cells[None].seconds, "corrupted": float(np.mean(times)) if times else None},
    }
