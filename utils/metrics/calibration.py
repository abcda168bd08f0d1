"""How far a certainty can be trusted: calibration error and risk by coverage, from counts that add up over images.

A certainty is a number from 0 to 1 for each pixel: the probability of its label, or the share of passes that agree.
"""

from collections.abc import Mapping

import numpy as np
import torch

BINS = 15  # equally wide, of the calibration error: bin i holds certainties from i / 15 up to, not with, (i + 1) / 15
_OCTAVES, _STEPS = 24, 5  # of the ranks: 2^5 steps in each halving of the uncertainty from 1 to 2^-24
_SHIFT, _LEAST = (
    23 - _STEPS,
    (127 - _OCTAVES) << _STEPS,
)  # of a float32's bits: exponent and the first 5 of its fraction
RANKS = (_OCTAVES << _STEPS) + 1  # most certain first


def certainty_counts(certainty: np.ndarray, right: np.ndarray) -> dict[str, np.ndarray]:
    """Counts of some pixels.

    Args:
        certainty: (n,) float32 in [0, 1].
        right: (n,) bool, whether the pixel's label is the true one.

    Returns:
        `bins` (2,BINS) int64: pixels and right ones; `sums` (BINS,) float64: of their certainties; `ranks` (2,RANKS)
        int64: pixels and right ones by uncertainty, 1 - certainty, in steps of at most a 32nd of itself.
    """
    wide = certainty.astype(np.float64)
    places = np.minimum((wide * BINS).astype(np.int64), BINS - 1)
    uncertainty = np.clip(1 - wide, 0, 1).astype(np.float32)
    ranks = np.maximum((uncertainty.view(np.int32) >> _SHIFT) - _LEAST, 0)
    return {
        "bins": np.stack([np.bincount(where, minlength=BINS) for where in (places, places[right])]),
        "sums": np.bincount(places, wide, BINS),
        "ranks": np.stack([np.bincount(where, minlength=RANKS) for where in (ranks, ranks[right])]),
    }


def calibration_error(bins: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """Expected calibration error: the mean gap between the certainty and the accuracy of a bin, weighted by pixels.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equation 3.

    Args:
        bins: (...,2,BINS): pixels and right ones.
        sums: (...,BINS): of certainties.

    Returns:
        (...) float64 in [0, 1]; nan without pixels.
    """
    with np.errstate(invalid="ignore"):
        return np.abs(bins[..., 1, :] - sums).sum(-1) / bins[..., 0, :].sum(-1)


def risk_coverage_area(ranks: np.ndarray) -> np.ndarray:
    """Area under the risk-coverage curve: the mean, over n, of the error rate among the n most certain pixels.

    Pixels of one rank count as equally certain: the mean over all their orders.

    Source: Geifman et al., Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers, ICLR 2019.

    Args:
        ranks: (...,2,RANKS): pixels and right ones.

    Returns:
        (...) float64 in [0, 1], less is better; nan without pixels.
    """
    pixels, right = np.moveaxis(ranks.astype(np.float64), -2, 0)
    wrong = pixels - right
    before, wrong_before = np.cumsum(pixels, -1) - pixels, np.cumsum(wrong, -1) - wrong
    rate = wrong / np.maximum(pixels, 1)
    # sum over i = before + 1 ... before + pixels of (wrong_before + (i - before) rate) / i, with harmonic numbers
    sums = wrong + (wrong_before - before * rate) * (_harmonic(before + pixels) - _harmonic(before))
    with np.errstate(invalid="ignore"):
        return sums.sum(-1) / pixels.sum(-1)


def _harmonic(n: np.ndarray) -> np.ndarray:
    """Harmonic numbers, less a constant."""
    return torch.digamma(torch.from_numpy(n + 1)).numpy()


def risk_at(ranks: np.ndarray, coverages: np.ndarray) -> np.ndarray:
    """Error rate among the most certain pixels, (n,) float64, at coverages (n,) in (0, 1]; `ranks` (2,RANKS)."""
    pixels, right = np.cumsum(np.pad(ranks, ((0, 0), (1, 0))), axis=1, dtype=np.float64)
    wanted = coverages * pixels[-1]
    return np.interp(wanted, pixels, pixels - right) / wanted


def reliability(bins: np.ndarray, sums: np.ndarray) -> Mapping[str, list]:
    """Of each bin its `pixels`, mean `certainty` and `accuracy`, None in an empty bin; arguments as they add up."""
    pixels = bins[0].tolist()
    columns = {"certainty": sums.tolist(), "accuracy": bins[1].tolist()}
    means = {name: [v / n if n else None for v, n in zip(c, pixels, strict=True)] for name, c in columns.items()}
    return {"pixels": pixels, **means}
