"""Metrics of segment boundaries: the boundary F-score and Boundary IoU."""

import math

import cv2
import numpy as np
from torch import Tensor


def boundary_f_score(
    pred: np.ndarray | Tensor, label: np.ndarray | Tensor, num_classes: int, threshold: float, ignore_label: int
) -> np.ndarray:
    """F-score of each class's boundary in one image.

    Precision is the share of the predicted boundary pixels within `radius` of a true one, recall the other way round,
    radius = ceil(threshold x diagonal) in pixels. Ignored pixels are cleared from both masks first.

    Args:
        pred, label: (H,W) integers.
        threshold: share of the image's diagonal, such as 0.00375.

    Returns:
        (num_classes,) float64 in [0, 1]; 0 where only one side has a boundary, nan where neither has (class absent).

    Source:
        Perazzi et al., A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation, CVPR 2016, as
        the SFNet family measures it.
    """
    pred, label = _pair_of_maps(pred, label)
    radius = math.ceil(threshold * math.hypot(*label.shape))
    valid = label != ignore_label
    result = np.full(num_classes, np.nan)
    for c in range(num_classes):
        predicted = mask_boundary((pred == c) & valid)
        true = mask_boundary((label == c) & valid)
        if predicted.any() or true.any():
            result[c] = _f_score(predicted, true, radius)
    return result


def _f_score(predicted: np.ndarray, true: np.ndarray, radius: int) -> float:
    rows, columns = _bounding_box(predicted | true)
    predicted, true = predicted[rows, columns], true[rows, columns]
    precision, recall = _share_near(predicted, true, radius), _share_near(true, predicted, radius)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _share_near(points: np.ndarray, others: np.ndarray, radius: int) -> float:
    """Share of `points` that lie within a disk of `radius` around any of `others`; 0 where either is empty."""
    count = np.count_nonzero(points)
    if not count or not others.any():
        return 0.0
    # a distance within the radius is a dilation with the disk, at a cost that does not grow with the disk
    distance = cv2.distanceTransform((~others).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # distances are roots of whole numbers, so this is far from all others than the radius and from float32's error
    return np.count_nonzero(distance[points] ** 2 < radius**2 + 0.5) / count


def _bounding_box(mask: np.ndarray) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def mask_boundary(mask: np.ndarray) -> np.ndarray:
    """Pixels of a (H,W) bool mask that differ from their right, lower or lower-right neighbour inside the image."""
    boundary = np.zeros_like(mask)
    boundary[:, :-1] = mask[:, :-1] != mask[:, 1:]
    boundary[:-1] |= mask[:-1] != mask[1:]
    boundary[:-1, :-1] |= mask[:-1, :-1] != mask[1:, 1:]
    return boundary


def boundary_iou_counts(
    pred: np.ndarray | Tensor, label: np.ndarray | Tensor, num_classes: int, ignore_label: int, ratio: float = 0.02
) -> np.ndarray:
    """Pixels of the intersection and of the union of each class's inner bands, (num_classes, 2) int64.

    A mask's inner band is what an erosion by `ratio` x the image's diagonal (rounded, at least one pixel, the outside
    counting as not the class) takes away. Ignored pixels are cleared from both masks first.

    Args:
        pred, label: (H,W) integers.
        ratio: width of the bands as a share of the diagonal.

    Source:
        Cheng et al., Boundary IoU: Improving Object-Centric Image Segmentation Evaluation, CVPR 2021.
    """
    pred, label = _pair_of_maps(pred, label)
    width = max(1, round(ratio * math.hypot(*label.shape)))
    valid = label != ignore_label
    counts = np.zeros((num_classes, 2), np.int64)
    for c in range(num_classes):
        predicted, true = (_inner_band((values == c) & valid, width) for values in (pred, label))
        counts[c] = np.count_nonzero(predicted & true), np.count_nonzero(predicted | true)
    return counts


def boundary_iou(
    pred: np.ndarray | Tensor, label: np.ndarray | Tensor, num_classes: int, ignore_label: int, ratio: float = 0.02
) -> np.ndarray:
    """Boundary IoU of each class in one image, (num_classes,) float64; nan for a class in neither map."""
    common, union = boundary_iou_counts(pred, label, num_classes, ignore_label, ratio).T
    return np.where(union > 0, common / np.maximum(union, 1), np.nan)


def _inner_band(mask: np.ndarray, width: int) -> np.ndarray:
    if not mask.any():
        return mask
    kernel = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    eroded = cv2.erode(mask.view(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return mask & (eroded == 0)


def _pair_of_maps(pred: np.ndarray | Tensor, label: np.ndarray | Tensor) -> tuple[np.ndarray, np.ndarray]:
    pred, label = (value.cpu().numpy() if isinstance(value, Tensor) else np.asarray(value) for value in (pred, label))
    if pred.ndim != 2 or pred.shape != label.shape:
        raise ValueError(f"expected two maps (H,W) of one size, got {pred.shape} and {label.shape}")
    return pred, label


class BoundaryScores:
    """Mean of per-class scores over the images in which the class is present.

    Args:
        num_classes: length of the score vectors.
    """

    def __init__(self, num_classes: int) -> None:
        self.sums = np.zeros(num_classes)
        self.images = np.zeros(num_classes, np.int64)

    def add(self, scores: np.ndarray) -> None:
        """Add one image's scores (num_classes,), nan where a class is absent."""
        present = ~np.isnan(scores)
        self.sums[present] += scores[present]
        self.images += present

    def merge(self, other: "BoundaryScores") -> None:
        """Add the images of another accumulator, such as another process's."""
        self.sums += other.sums
        self.images += other.images

    def per_class(self) -> np.ndarray:
        """Mean score of each class, (num_classes,) float64; nan for a class that no image has."""
        return np.where(self.images > 0, self.sums / np.maximum(self.images, 1), np.nan)

    def mean(self) -> float:
        """Mean over the classes that some image has; nan where there is none."""
        present = self.images > 0
        return float(self.per_class()[present].mean()) if present.any() else math.nan
