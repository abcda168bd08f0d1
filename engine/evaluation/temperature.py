"""The temperature that makes probabilities fit: sampled class scores of labelled pixels, and the fit itself."""

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from utils.constants import IGNORE_LABEL
from utils.errors import DataError
from utils.metrics.calibration import BINS

SAMPLED = 2**23  # class scores that are kept in all: 64 MiB in float64
LEAST_PIXELS = 64  # of each image
LIMITS = 0.05, 20.0  # temperatures that are looked at
PRECISION = 1e-7  # of 1 / temperature, relative
SEED = 0


@dataclass
class ScoreSample:
    """Labelled pixels of a split, the same number of each image, each standing for as many as it was drawn from.

    So memory is bounded, whatever the split's size.

    Attributes:
        num_images: That will be added.
    """

    num_images: int
    _scores: list[Tensor] = field(default_factory=list)
    _labels: list[Tensor] = field(default_factory=list)
    _weights: list[Tensor] = field(default_factory=list)

    def add(self, index: int, scores: Tensor, label: Tensor, merge: str) -> None:
        """An image: merged scores (C,H,W), as `merge` says, and train ids (H,W); `index` is the seed of its draw."""
        places = torch.nonzero((label != IGNORE_LABEL).flatten()).squeeze(1).numpy()
        wanted = max(LEAST_PIXELS, SAMPLED // (self.num_images * len(scores)))
        chosen = places
        if len(places) > wanted:
            chosen = np.random.default_rng([SEED, index]).choice(places, wanted, replace=False)
        picked = torch.from_numpy(chosen)
        values = scores.flatten(1)[:, picked.to(scores.device)].T.double().cpu()
        if merge != "logit":
            values = values.clamp_min(1e-12).log()  # as in the loss: rounded to 0 says no more than tiny
        self._scores.append(values)
        self._labels.append(label.flatten()[picked].long())
        self._weights.append(torch.full((len(chosen),), len(places) / max(len(chosen), 1), dtype=torch.float64))

    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, or what stands for them, (n,C) float64; labels (n,) int64; weights (n,) float64."""
        return torch.cat(self._scores), torch.cat(self._labels), torch.cat(self._weights)


def fit_temperature(logits: Tensor, labels: Tensor, weights: Tensor) -> float:
    """The temperature T at which the negative log-likelihood of softmax(logits / T) is least.

    It is convex in 1 / T, so Newton's steps, kept between bounds that close in, find it.

    Args:
        logits: (n,C) float64.
        labels: (n,) int64.
        weights: (n,) float64, how much each counts.

    Raises:
        DataError: The least lies outside `LIMITS`: all labels are right, or the scores say nothing.
    """
    true = logits.gather(1, labels[:, None]).squeeze(1)
    low, high = 1 / LIMITS[1], 1 / LIMITS[0]

    def slope(inverse: float) -> tuple[float, float]:
        """First and second derivative by 1 / T: of the weighted sum of log-likelihoods, negative."""
        p = (logits * inverse).softmax(dim=1)
        mean = (p * logits).sum(dim=1)
        variance = (p * logits.square()).sum(dim=1) - mean.square()
        return float((weights * (mean - true)).sum()), float((weights * variance).sum())

    if slope(low)[0] >= 0 or slope(high)[0] <= 0:
        raise DataError(
            f"no temperature from {LIMITS[0]:g} to {LIMITS[1]:g} fits: on these images the model makes no mistakes, or"
            " its scores say nothing of the labels; calibrate on images that it wasn't trained on"
        )
    inverse = 1.0
    while high - low > PRECISION * high:
        first, second = slope(inverse)
        low, high = (inverse, high) if first < 0 else (low, inverse)
        step = first / second if second > 0 else math.inf
        if abs(step) < PRECISION * inverse:
            break
        inverse = inverse - step if low < inverse - step < high else (low + high) / 2
    return 1 / inverse


def sampled_error(logits: Tensor, labels: Tensor, weights: Tensor, temperature: float) -> float:
    """Expected calibration error of softmax(logits / temperature); arguments as in `fit_temperature`."""
    confidence, predicted = (logits / temperature).softmax(dim=1).max(dim=1)
    gaps = weights * (confidence - (predicted == labels).double())
    bins = (confidence * BINS).long().clamp_max(BINS - 1)
    return float(torch.zeros(BINS, dtype=torch.float64).index_add_(0, bins, gaps).abs().sum() / weights.sum())
