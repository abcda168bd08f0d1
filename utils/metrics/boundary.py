"""Metrics of segment boundaries: the boundary F-score and Boundary IoU."""

import math
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from torch import Tensor

F_SCORE_THRESHOLDS = (0.0005, 0.001875, 0.00375, 0.005)  # shares of the image's diagonal; the release's


def boundary_f_score(
    pred: np.ndarray | Tensor, label: np.ndarray | Tensor, num_classes: int, threshold: float, ignore_label: int
) -> np.ndarray:
    """`boundary_f_scores` at one threshold, (num_classes,)."""
    return boundary_f_scores(pred, label, num_classes, [threshold], ignore_label)[0]


def boundary_f_scores(
    pred: np.ndarray | Tensor,
    label: np.ndarray | Tensor,
    num_classes: int,
    thresholds: Sequence[float],
    ignore_label: int,
) -> np.ndarray:
    """F-score of each class's boundary in one image, at each threshold.

    Precision is the share of the predicted boundary pixels within `radius` of a true one, recall the other way round,
    radius = ceil(threshold x diagonal) in pixels. Ignored pixels are cleared from both masks first.

    Args:
        pred, label: (H,W) integers.
        thresholds: T shares of the image's diagonal, such as 0.00375.

    Returns:
        (T, num_classes) float64 in [0, 1]; 0 where only one side has a boundary, nan where neither has (class absent).

    Source:
        Perazzi et al., A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation, CVPR 2016, as
        the SFNet family measures it.
    """
    pred, label = _pair_of_maps(pred, label)
    radii = [math.ceil(threshold * math.hypot(*label.shape)) for threshold in thresholds]
    result = np.full((len(radii), num_classes), np.nan)
    for c, predicted, true in _class_masks(pred, label, num_classes, ignore_label):
        predicted, true = mask_boundary(predicted), mask_boundary(true)
        if predicted.any() or true.any():
            precision, recall = _shares_near(predicted, true, radii), _shares_near(true, predicted, radii)
            both = precision + recall
            result[:, c] = np.where(both > 0, 2 * precision * recall / np.where(both > 0, both, 1), 0)
    return result


def _class_masks(
    pred: np.ndarray, label: np.ndarray, num_classes: int, ignore_label: int
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Class, predicted and true mask (h,w) bool of each class that occurs, ignored pixels cleared.

    The masks are cut to where the class occurs and one pixel around it, inside the image: all that a boundary needs.
    """
    valid = label != ignore_label
    for c in range(num_classes):
        predicted, true = (pred == c) & valid, (label == c) & valid
        either = predicted | true
        rows, columns = np.flatnonzero(either.any(1)), np.flatnonzero(either.any(0))
        if rows.size:
            box = tuple(slice(max(0, places[0] - 1), places[-1] + 2) for places in (rows, columns))
            yield c, predicted[box], true[box]


def _shares_near(points: np.ndarray, others: np.ndarray, radii: Sequence[int]) -> np.ndarray:
    """Share of `points` that lie within a disk of each radius around any of `others`; 0 where either is empty."""
    count = np.count_nonzero(points)
    if not count or not others.any():
        return np.zeros(len(radii))
    # a distance within the radius is a dilation with the disk, at a cost that does not grow with the disk
    distance = cv2.distanceTransform((~others).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # distances are roots of whole numbers, so this is far from all others than the radius and from float32's error
    squared = distance[points] ** 2
    return np.array([np.count_nonzero(squared < radius**2 + 0.5) for radius in radii]) / count


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
    counts = np.zeros((num_classes, 2), np.int64)
    for c, *masks in _class_masks(pred, label, num_classes, ignore_label):
        predicted, true = (_inner_band(mask, width) for mask in masks)
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
