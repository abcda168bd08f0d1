"""Boundary F-scores of a predictor on a split, at several thresholds."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from engine.evaluation import predict_batch
from engine.score_maps import predict_labels
from utils.boundary import BoundaryScores, boundary_f_score
from utils.distributed import gather_objects
from utils.logging import Progress


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
    """Mean boundary F-score per class over the images where the class is present, by threshold.

    Args:
        predictor: Normalised images (N,3,H,W) -> scores (N,C,H,W).
        loader: Batches with `image`, `label` (N,H,W) and `name`; over the ranks each image occurs once.
        names: Class names.
        ignore_label: Label that isn't scored.
        thresholds: Tolerances as shares of the image's diagonal.
        device: Where to compute.
        amp: Autocast type, or None.
        progress: Show a bar.

    Returns:
        Threshold as text -> `mean_f` and `per_class` (name -> F in [0, 1]); None where no image has the class.

    Source: Perazzi et al., A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation, CVPR 2016.
    """
    totals = {threshold: BoundaryScores(len(names)) for threshold in thresholds}
    for batch in Progress(loader, "boundaries", progress):
        predictions = predict_labels(predict_batch(predictor, batch, device, amp)).cpu().numpy()
        for prediction, label in zip(predictions, batch["label"].numpy(), strict=True):
            for threshold, total in totals.items():
                total.add(boundary_f_score(prediction, label, len(names), threshold, ignore_label))
    result = {}
    for threshold, total in totals.items():
        merged = BoundaryScores(len(names))
        for part in gather_objects(total):
            merged.merge(part)
        rows = zip(names, merged.per_class().tolist(), strict=True)
        per_class = {name: None if value != value else value for name, value in rows}
        mean = merged.mean()
        result[str(threshold)] = {"mean_f": None if mean != mean else mean, "per_class": per_class}
    return result
