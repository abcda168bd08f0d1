"""Boundary F-score and Boundary IoU: what is measured on each image, and the scores of a split."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.evaluation.scoring import Evaluation
from utils.constants import IGNORE_LABEL
from utils.metrics.boundary import boundary_f_scores, boundary_iou_counts


@dataclass(frozen=True)
class BoundaryFScore:
    """Measures `boundary_f_sum` (T,C) float64 and, of the images that have the class, `boundary_f_images` (T,C) int64.

    Source: Perazzi et al., A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation, CVPR 2016.

    Attributes:
        num_classes: C.
        thresholds: T tolerances as fractions of the image's diagonal.
    """

    num_classes: int
    thresholds: Sequence[float]

    def __call__(self, prediction: np.ndarray, label: np.ndarray) -> dict[str, np.ndarray]:
        scores = boundary_f_scores(prediction, label, self.num_classes, self.thresholds, IGNORE_LABEL)
        return {"boundary_f_sum": np.nan_to_num(scores), "boundary_f_images": (~np.isnan(scores)).astype(np.int64)}

    def average(self, evaluation: Evaluation, names: Sequence[str]) -> dict[str, dict]:
        """Means over the images that have a class: threshold as text -> `mean_f`, `per_class` (name -> F or None)."""
        rows = zip(evaluation.total("boundary_f_sum"), evaluation.total("boundary_f_images"), strict=True)
        averages = [_ratios("mean_f", names, *row) for row in rows]
        return dict(zip(map(str, self.thresholds), averages, strict=True))


@dataclass(frozen=True)
class BoundaryIou:
    """Measures `boundary_iou` (C,2) int64: pixels of the bands' intersection and union.

    Source: Cheng et al., Boundary IoU: Improving Object-Centric Image Segmentation Evaluation, CVPR 2021.
    """

    num_classes: int

    def __call__(self, prediction: np.ndarray, label: np.ndarray) -> dict[str, np.ndarray]:
        return {"boundary_iou": boundary_iou_counts(prediction, label, self.num_classes, IGNORE_LABEL)}

    def average(self, evaluation: Evaluation, names: Sequence[str]) -> dict:
        """`mean_iou` and `per_class` (name -> IoU or None), from the pixels of all images."""
        return _ratios("mean_iou", names, *evaluation.total("boundary_iou").T)


def _ratios(mean: str, names: Sequence[str], sums: np.ndarray, counts: np.ndarray) -> dict:
    """Ratios by class, and under the name `mean` their mean; None where the count is 0."""
    ratios = [total / count if count else None for total, count in zip(sums.tolist(), counts.tolist(), strict=True)]
    present = [ratio for ratio in ratios if ratio is not None]
    return {
        mean: sum(present) / len(present) if present else None,
        "per_class": dict(zip(names, ratios, strict=True)),
    }
