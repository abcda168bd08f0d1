"""Scores of how sure a model is: calibration error and risk by coverage, with intervals over images."""

import numpy as np

from engine.evaluation.confidence import AGREEMENT, CONFIDENCE
from engine.evaluation.scoring import Evaluation
from utils.metrics.bootstrap import intervals
from utils.metrics.calibration import calibration_error, reliability, risk_coverage_area


def certainty_scores(evaluation: Evaluation, name: str, resamples: int) -> dict:
    """Scores of one kind of map, as plain data.

    Args:
        evaluation: Its images have the counts of `measure_certainty`.
        name: `confidence` or `agreement`.
        resamples: Of the bootstrap over images; 0: no intervals.

    Returns:
        `ece` (expected calibration error), `aurc` (area under the risk-coverage curve), `intervals` of both (None with
        fewer than two labelled images) and `reliability`, by bin.
    """
    bins, sums, ranks = (
        np.stack([image.measures[f"{name}_{key}"] for image in evaluation.images]) for key in ("bins", "sums", "ranks")
    )
    labelled = int((bins[:, 0].sum(1) > 0).sum())
    parts = np.concatenate([bins, sums[:, None]], axis=1)  # (N,3,BINS)
    resamples = resamples if labelled > 1 else 0
    ends = {
        "ece": intervals(parts, lambda some: calibration_error(some[:, :2], some[:, 2]), resamples),
        "aurc": intervals(ranks, risk_coverage_area, resamples),
    }
    bins, sums, ranks = bins.sum(0), sums.sum(0), ranks.sum(0)
    scores = {"ece": float(calibration_error(bins, sums)), "aurc": float(risk_coverage_area(ranks))}
    return scores | {"intervals": ends, "reliability": dict(reliability(bins, sums))}


def confidence_result(evaluation: Evaluation, temperature: float, passes: int, resamples: int) -> dict[str, dict]:
    """What `metrics.json` says under `confidence` and, with several passes, `agreement`."""
    result = {CONFIDENCE: {"temperature": temperature} | certainty_scores(evaluation, CONFIDENCE, resamples)}
    if passes > 1:
        result[AGREEMENT] = {"passes": passes} | certainty_scores(evaluation, AGREEMENT, resamples)
    return result
