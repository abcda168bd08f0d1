"""Is a variant better, over seeds and images? Interval, p-value and power of a difference of two means.

Two things are random in a variant's mean score: the seeds of its runs, and the images it is scored on. The same images
score both variants, so their share is the variance of the *difference*, by a bootstrap. Equal seeds are not pairs: a
seed draws other numbers in another model. Hence, with s the standard deviation over a variant's n runs,

    difference +- t * sqrt(s_A^2 / n_A + s_B^2 / n_B + v_images)

Source: Welch, Biometrika 34 (1947); Satterthwaite, Biometrics Bulletin 2 (1946); Holm, Scand. J. Statist. 6 (1979).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scripts.studies.statistics.t_distribution import t_quantile, two_sided_p
from utils.metrics.bootstrap import bootstrap_iou

LEVEL, ALPHA, POWER = 0.95, 0.05, 0.8
RESAMPLES = 2000
MOST_SEEDS = 1000


@dataclass(frozen=True)
class Sample:
    """The scores of one variant: (n,) of its runs, and (B,) the mean over its runs in each resample of the images."""

    scores: np.ndarray
    resampled: np.ndarray

    @property
    def mean(self) -> float:
        """Over the runs."""
        return float(self.scores.mean())

    @property
    def variance(self) -> float:
        """Of one run; needs two."""
        return float(self.scores.var(ddof=1))


@dataclass(frozen=True)
class Difference:
    """A difference of two means.

    Attributes:
        estimate: Second - first.
        seeds: Variance of one run, of the first and of the second variant.
        runs: Their numbers.
        images: v_images.
        blocks: Blocks of images it was estimated from.
    """

    estimate: float
    seeds: tuple[float, float]
    runs: tuple[int, int]
    images: float
    blocks: int

    @property
    def error(self) -> float:
        """Standard error."""
        return math.sqrt(sum(variance for variance, _ in self._terms()))

    @property
    def df(self) -> float:
        """Satterthwaite's degrees of freedom; infinite where nothing varies."""
        terms = self._terms()
        below = sum(variance**2 / df for variance, df in terms)
        return sum(variance for variance, _ in terms) ** 2 / below if below > 0 else math.inf

    def interval(self, level: float = LEVEL) -> list[float]:
        """[low, high]."""
        reach = t_quantile(0.5 + level / 2, self.df) * self.error
        return [self.estimate - reach, self.estimate + reach]

    @property
    def p_value(self) -> float:
        """Two-sided, of no difference."""
        if self.error == 0:
            return float(self.estimate == 0)
        return two_sided_p(self.estimate / self.error, self.df)

    def visible(self, comparisons: int) -> float:
        """The difference that is found with a probability of `POWER`, at Holm's first step of so many comparisons."""
        return (t_quantile(1 - ALPHA / comparisons / 2, self.df) + t_quantile(POWER, self.df)) * self.error

    def seeds_for(self, wanted: float, comparisons: int) -> int | None:
        """Runs of each variant with which `wanted` is visible; None: more seeds don't help, the images are too few."""

        def sees(runs: int) -> bool:
            return Difference(0.0, self.seeds, (runs, runs), self.images, self.blocks).visible(comparisons) <= wanted

        if not sees(MOST_SEEDS):
            return None
        low, high = 1, MOST_SEEDS  # low never suffices: one run has no spread
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if sees(middle) else (middle, high)
        return high

    def _terms(self) -> list[tuple[float, int]]:
        """Variances that add up, each with its degrees of freedom."""
        spread = zip(self.seeds, self.runs, strict=True)
        return [(variance / runs, runs - 1) for variance, runs in spread] + [(self.images, self.blocks - 1)]


def compare(first: Sample, second: Sample, blocks: int) -> Difference | None:
    """Second - first; None where a spread can't be known: a single run, fewer than two blocks, a class without pixels.

    Args:
        first: The reference.
        second: Scored on the same images, in the same resamples.
        blocks: Of the images.
    """
    values = second.resampled - first.resampled
    values = values[np.isfinite(values)]
    estimate = second.mean - first.mean
    if min(len(first.scores), len(second.scores), blocks, len(values)) < 2 or not math.isfinite(estimate):
        return None
    images = float(values.var(ddof=1)) * blocks / (blocks - 1)  # resamples of few blocks vary less than new blocks do
    runs = len(first.scores), len(second.scores)
    return Difference(estimate, (first.variance, second.variance), runs, images, blocks)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values: below 0.05, a difference holds among all comparisons together."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def samples_of(counts: np.ndarray, blocks: np.ndarray, resamples: int = RESAMPLES) -> list[Sample]:
    """The IoU of each class, and last the mean IoU, as samples of one variant.

    Args:
        counts: (R,N,C,2) int64: of each run, image and class the pixels in both truth and prediction, and in either.
        blocks: (N,) the block of each image, from 0 without gaps.
        resamples: B; the same blocks are drawn for every variant.
    """
    runs, _, classes, _ = counts.shape
    stacked = np.zeros((blocks.max() + 1, runs * classes, 2), np.int64)
    np.add.at(stacked, blocks, counts.swapaxes(0, 1).reshape(len(blocks), -1, 2))
    resampled = _with_mean(bootstrap_iou(stacked, resamples)[:, :-1].reshape(resamples, runs, classes)).mean(1)
    common, union = np.moveaxis(counts.sum(1), -1, 0)
    with np.errstate(invalid="ignore"):
        scores = _with_mean(common / union)
    return [Sample(scores[:, column], resampled[:, column]) for column in range(classes + 1)]


def _with_mean(iou: np.ndarray) -> np.ndarray:
    """(...,C) with nan for absent classes -> (...,C+1), the mean over the others last."""
    present = ~np.isnan(iou)
    number = present.sum(-1)
    mean = np.where(number > 0, np.where(present, iou, 0).sum(-1) / np.maximum(number, 1), np.nan)
    return np.concatenate([iou, mean[..., None]], -1)
