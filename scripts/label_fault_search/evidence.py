"""How much a region speaks for a fault in the label rather than in the model."""

import math
from dataclasses import dataclass, field

import numpy as np

from scripts.label_fault_search.regions import Region

LEVELS = 10  # of confidence
PRIOR = 6e-5  # pixels of each kind that are assumed beforehand, as a fraction of an image; keeps rare pairs finite


@dataclass(frozen=True)
class Counts:
    """Pixels of an image by label, predicted class and confidence, in the form of its non-zero entries.

    Attributes:
        indices: Places in (C,C,LEVELS), flattened.
        pixels: How many, int64.
    """

    indices: np.ndarray
    pixels: np.ndarray

    @classmethod
    def of(cls, probability: np.ndarray, label: np.ndarray) -> "Counts":
        """Of probabilities (C,H,W) float32 and train ids (H,W) uint8; ignored pixels don't count."""
        classes = len(probability)
        valid = label < classes
        predicted, confidence = probability.argmax(0)[valid], probability.max(0)[valid]
        level = np.minimum((confidence * LEVELS).astype(np.int64), LEVELS - 1)
        flat = (label[valid].astype(np.int64) * classes + predicted) * LEVELS + level
        return cls(*np.unique(flat, return_counts=True))


@dataclass
class Confusions:
    """What a model makes of each label over a split.

    A class that it often takes for another says little where it does so once more; one that it never does says a lot.

    Attributes:
        classes: C.
        total: (C,C,LEVELS) int64: pixels by label, predicted class and confidence.
        images: How many were counted.
    """

    classes: int
    total: np.ndarray = field(init=False)
    images: int = 0
    pixels: int = 0

    def __post_init__(self) -> None:
        self.total = np.zeros((self.classes, self.classes, LEVELS), np.int64)

    def add(self, counts: Counts, pixels: int) -> None:
        """Count an image of that many pixels."""
        self.total.reshape(-1)[counts.indices] += counts.pixels
        self.images, self.pixels = self.images + 1, self.pixels + pixels

    def score(self, region: Region, own: Counts) -> float:
        """How strongly a region of the image with counts `own` speaks against its label; 0 or more, no upper end.

        The logarithm of a likelihood ratio, times what the region itself says: how often such a confident prediction
        is made where the other images are labelled with the predicted class, over how often it is made where they are
        labelled as this region is.
        """
        label, predicted = self._without(own, region.label), self._without(own, region.predicted)
        level = min(int(region.probability * LEVELS), LEVELS - 1)
        prior = PRIOR * self.pixels / max(self.images, 1)
        rates = [
            (counts[region.predicted, level:].sum() + prior) / (counts.sum() + LEVELS * prior)
            for counts in (predicted, label)
        ]
        return 100 * region.strength * max(0.0, math.log(rates[0] / rates[1]))

    def _without(self, own: Counts, label: int) -> np.ndarray:
        """(C,LEVELS) of one label, over all images but one."""
        counts, size = self.total[label].copy(), self.classes * LEVELS
        here = (own.indices >= label * size) & (own.indices < (label + 1) * size)
        counts.reshape(-1)[own.indices[here] - label * size] -= own.pixels[here]
        return counts
