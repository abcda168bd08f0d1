"""What the evaluations of all cells say: scores, what is left of the clean one, and intervals."""

from collections.abc import Mapping, Sequence

import numpy as np

from engine.evaluation.scoring import Evaluation
from scripts.corrupted.cells import Cell, Key
from utils.metrics.bootstrap import LEVEL, SEED, bootstrap_iou
from utils.metrics.confusion import compute_metrics


class Scores:
    """Scores of cells and of their means; all of them are bootstrapped over the same resamples of the images.

    Args:
        cells: What was counted; `None` is the clean one.
        names: Class names.
        resamples: Of the images; 0: no intervals.
    """

    def __init__(self, cells: Mapping[Key, Cell], names: Sequence[str], resamples: int) -> None:
        confusions = {key: cell.evaluation.confusion for key, cell in cells.items()}
        self._mean_iou = {key: compute_metrics(matrix, names)["mean_iou"] for key, matrix in confusions.items()}
        labelled = sum(image.labelled > 0 for image in cells[None].evaluation.images)
        drawn = resamples if labelled > 1 else 0  # one image says nothing about others
        self._drawn = {key: _resampled(cell.evaluation, drawn) for key, cell in cells.items()} if drawn else {}

    def score(self, keys: Sequence[Key]) -> dict:
        """The mean of several cells: `mean_iou` and `interval`, of a single one as eval.py gives them; `relative`, to
        the clean one, and `relative_interval`, paired."""
        mean_iou, clean = float(np.mean([self._mean_iou[key] for key in keys])), self._mean_iou[None]
        row = {"mean_iou": mean_iou, "interval": None, "relative": None, "relative_interval": None}
        if clean:
            row["relative"] = mean_iou / clean
        if self._drawn:
            drawn = np.mean([self._drawn[key] for key in keys], 0)
            row["interval"] = _ends(drawn)
            if clean:
                with np.errstate(invalid="ignore", divide="ignore"):
                    row["relative_interval"] = _ends(drawn / self._drawn[None])
        return row


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
    clean = scores.score([None])
    return {
        "clean": clean["mean_iou"],
        "clean_interval": clean["interval"],
        "cells": {name: {str(key[1]): scores.score([key]) for key in row} for name, row in own.items()},
        "corruptions": {name: scores.score(row) for name, row in own.items()},
        "mean": scores.score(keys),
        "num_images": cells[None].evaluation.num_images,
        "bootstrap": {"over": "images", "level": LEVEL, "resamples": resamples, "seed": SEED},
        "seconds_per_image": {"clean": cells[None].seconds, "corrupted": float(np.mean(times)) if times else None},
    }
