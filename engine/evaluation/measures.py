"""What the report needs of each image besides the confusion matrix."""

from dataclasses import dataclass

import numpy as np

from utils.constants import IGNORE_LABEL
from utils.metrics.segments import segment_counts
from utils.metrics.trimap import trimap_counts


@dataclass(frozen=True)
class TrimapCounts:
    """Measures `trimap`: see `utils.metrics.trimap.trimap_counts`."""

    num_classes: int

    def __call__(self, prediction: np.ndarray, label: np.ndarray) -> dict[str, np.ndarray]:
        return {"trimap": trimap_counts(prediction, label, self.num_classes, IGNORE_LABEL)}


@dataclass(frozen=True)
class SegmentCounts:
    """Measures `segments`: see `utils.metrics.segments.segment_counts`; several times as slow as the trimap."""

    num_classes: int

    def __call__(self, prediction: np.ndarray, label: np.ndarray) -> dict[str, np.ndarray]:
        return {"segments": segment_counts(prediction, label, self.num_classes, IGNORE_LABEL)}
