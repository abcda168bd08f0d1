"""Boundary F-score and Boundary IoU of a split, from what is measured on each image."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from engine.evaluation.per_image import PerImageMetric
from engine.evaluation.scoring import Evaluation, evaluate
from utils.metrics.boundary import boundary_f_scores, boundary_iou_counts


def f_score_measure(num_classes: int, ignore_label: int, thresholds: Sequence[float]) -> PerImageMetric:
    """Measures `boundary_f_sum` (T,C) float64 and, of the images that have the class, `boundary_f_images` (T,C) int64.

    Args:
        num_classes: C.
        ignore_label: Label that isn't scored.
        thresholds: T tolerances as shares of the image's diagonal.
    """

    def measure(prediction: np.ndarray, label: np.ndarray) -> dict[str, np.ndarray]:
        scores = boundary_f_scores(prediction, label, num_classes, thresholds, ignore_label)
        return {"boundary_f_sum": np.nan_to_num(scores), "boundary_f_images": (~np.isnan(scores)).astype(np.int64)}

    return measure


def iou_measure(num_classes: int, ignore_label: int) -> PerImageMetric:
    """Measures `boundary_iou` (C,2) int64: pixels of the bands' intersection and union."""

    def measure(prediction: np.ndarray, label: np.ndarray) -> dict[str, np.ndarray]:
        return {"boundary_iou": boundary_iou_counts(prediction, label, num_classes, ignore_label)}

    return measure


def f_score_summary(evaluation: Evaluation, names: Sequence[str], thresholds: Sequence[float]) -> dict[str, dict]:
    """Mean boundary F-score per class over the images where the class is present, by threshold.

    Returns:
        Threshold as text -> `mean_f` and `per_class` (name -> F in [0, 1]); None where no image has the class.

    Source: Perazzi et al., A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation, CVPR 2016.
    """
    sums, images = evaluation.total("boundary_f_sum"), evaluation.total("boundary_f_images")
    return {str(threshold): _summary("mean_f", names, sums[i], images[i]) for i, threshold in enumerate(thresholds)}


def iou_summary(evaluation: Evaluation, names: Sequence[str]) -> dict:
    """Boundary IoU of the split: `mean_iou` and `per_class` (name -> IoU), from the pixels of all images.

    Source: Cheng et al., Boundary IoU: Improving Object-Centric Image Segmentation Evaluation, CVPR 2021.
    """
    return _summary("mean_iou", names, *evaluation.total("boundary_iou").T)


def _summary(mean: str, names: Sequence[str], sums: np.ndarray, counts: np.ndarray) -> dict:
    """Ratios by class, and under the name `mean` their mean; None where the count is 0."""
    ratios = [total / count if count else None for total, count in zip(sums.tolist(), counts.tolist(), strict=True)]
    present = [ratio for ratio in ratios if ratio is not None]
    return {
        mean: sum(present) / len(present) if present else None,
        "per_class": dict(zip(names, ratios, strict=True)),
    }


def evaluate_boundaries(
    predictor: Callable[[Tensor], Tensor],
    loader: Iterable[dict],
    names: Sequence[str],
    ignore_label: int,
    thresholds: Sequence[float],
    device: torch.device,
    amp: torch.dtype | None = None,
    progress: bool = False,
) -> dict[str, dict]:
    """Boundary F-scores of a predictor on a split as `f_score_summary` gives them; arguments as in `evaluate`."""
    measure = f_score_measure(len(names), ignore_label, thresholds)
    evaluation = evaluate(
        predictor, loader, len(names), ignore_label, device, amp=amp, measures=[measure], progress=progress
    )
    return f_score_summary(evaluation, names, thresholds)
