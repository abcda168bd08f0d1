"""What the page needs of each image besides the confusion matrix."""

from engine.evaluation.per_image import PerImageMetric
from utils.metrics.segments import segment_counts
from utils.metrics.trimap import trimap_counts


def trimap_measure(num_classes: int, ignore_label: int) -> PerImageMetric:
    """Measures `trimap`: see `utils.metrics.trimap.trimap_counts`."""
    return lambda predicted, true: {"trimap": trimap_counts(predicted, true, num_classes, ignore_label)}


def segment_measure(num_classes: int, ignore_label: int) -> PerImageMetric:
    """Measures `segments`: see `utils.metrics.segments.segment_counts`; several times as slow as the trimap."""
    return lambda predicted, true: {"segments": segment_counts(predicted, true, num_classes, ignore_label)}
