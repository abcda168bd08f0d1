"""What is kept of one scored image, and what can be measured besides its confusion matrix."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

PerImageMetric = Callable[[np.ndarray, np.ndarray], dict[str, np.ndarray]]
"""Predicted and true train ids (H,W) uint8 (ignored pixels hold the ignore label) of one image -> named arrays, of a
fixed shape and dtype (int64 counts or float64), that add up over images."""


@dataclass(frozen=True)
class ImageResult:
    """What was counted on one image, compact enough to keep for every image of a split.

    Attributes:
        index: The image's place in the split.
        name: Its name.
        num_classes: C.
        indices: (K,) int32, the indices of the confusion matrix that are not 0: row x columns + column, ascending.
        counts: (K,) int64, their pixels.
        nll: Sum over the labelled pixels of the negative log-likelihood of the true class, natural log.
        measures: What the measures gave, by name.
        missed: Whether the matrix has one more column, of pixels that are predicted as none of the classes.
    """

    index: int
    name: str
    num_classes: int
    indices: np.ndarray
    counts: np.ndarray
    nll: float
    measures: dict[str, np.ndarray] = field(default_factory=dict)
    missed: bool = False

    @classmethod
    def from_matrix(cls, index: int, name: str, confusion: np.ndarray, nll: float, measures: dict) -> "ImageResult":
        """The result of an image with this confusion matrix (C,C) or (C,C+1) int64, rows = truth."""
        flat, (rows, columns) = confusion.ravel(), confusion.shape
        indices = np.flatnonzero(flat)
        return cls(index, name, rows, indices.astype(np.int32), flat[indices], nll, measures, columns > rows)

    def to_dict(self) -> dict:
        """Plain data, for JSON."""
        arrays = {"indices": self.indices.tolist(), "counts": self.counts.tolist()}
        return vars(self) | arrays | {"measures": {name: value.tolist() for name, value in self.measures.items()}}

    @classmethod
    def from_dict(cls, data: Mapping) -> "ImageResult":
        """The result that `to_dict` gave; raises what comes of other data."""
        arrays = {"indices": np.array(data["indices"], np.int32), "counts": np.array(data["counts"], np.int64)}
        return cls(**{**data, **arrays, "measures": {name: np.array(v) for name, v in data["measures"].items()}})

    @property
    def confusion(self) -> np.ndarray:
        """Confusion matrix (C,C) int64, rows = truth; where pixels are `missed` (C,C+1). Built at each call."""
        matrix = np.zeros(self.num_classes * self.columns, np.int64)
        matrix[self.indices] = self.counts
        return matrix.reshape(self.num_classes, self.columns)

    @property
    def columns(self) -> int:
        """Of the confusion matrix."""
        return self.num_classes + self.missed

    @property
    def labelled(self) -> int:
        """Pixels that are scored."""
        return int(self.counts.sum())

    @property
    def iou_counts(self) -> np.ndarray:
        """(C,2) int64: pixels of each class in both truth and prediction, and in either."""
        matrix = self.confusion
        common, predicted = matrix.diagonal(), matrix.sum(0)[: self.num_classes]
        return np.stack([common, predicted + matrix.sum(1) - common], axis=1)

    @property
    def class_counts(self) -> np.ndarray:
        """(C,3) int64: pixels of each class in both truth and prediction, in the truth, and in the prediction."""
        matrix = self.confusion
        return np.stack([matrix.diagonal(), matrix.sum(1), matrix.sum(0)[: self.num_classes]], axis=1)
