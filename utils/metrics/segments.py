"""Scores by the size of segments: connected pieces of one class."""

import cv2
import numpy as np

SEGMENT_SIDES = (16, 32, 64, 128, 256)  # sides of the squares whose areas part the size bins, pixels


def segment_counts(predicted: np.ndarray, true: np.ndarray, num_classes: int, ignore_label: int) -> np.ndarray:
    """Segments, pixels, hits and false positives of each class by the size of the segment.

    A segment is a connected piece (8 neighbours) of one class; its size is its area. Pixels and hits are those of true
    segments. A predicted segment's false positives (labelled pixels of another true class) belong to the size of the
    true segment of its class that it covers most (of equals: the smaller), so that an object's overhang counts against
    the object; those of a segment that covers none belong to its own size, in labelled pixels. Summed over the sizes,
    pixels, hits and false positives are therefore those of the confusion matrix.

    Args:
        predicted: Train ids (H,W) uint8.
        true: Train ids (H,W) uint8, `ignore_label` where not scored.
        num_classes: C.
        ignore_label: Label that isn't scored; pixels that have it are in no segment.

    Returns:
        (4,C,len(SEGMENT_SIDES) + 1) int64: number of true segments, their pixels, the hits among these, and false
        positives; bin i holds areas from SEGMENT_SIDES[i - 1]**2 up to, not with, SEGMENT_SIDES[i]**2.
    """
    counts = np.zeros((4, num_classes, len(SEGMENT_SIDES) + 1), np.int64)
    valid = true != ignore_label
    for c in range(num_classes):
        of_true, of_predicted = true == c, (predicted == c) & valid
        box = _bounding_box(of_true | of_predicted)
        if box is not None:
            _count_class(of_true[box], of_predicted[box], counts[:, c])
    return counts


def _count_class(of_true: np.ndarray, of_predicted: np.ndarray, counts: np.ndarray) -> None:
    """Add one class's segments, given as masks (h,w), to `counts` (4,bins)."""
    bins = counts.shape[1]
    true, true_areas = _segments(of_true)
    predicted, predicted_areas = _segments(of_predicted)
    pairs, covered = _overlaps(predicted, true, len(true_areas))
    hits_true, hits_predicted = (
        np.bincount(ids, covered, len(areas)).astype(np.int64)
        for ids, areas in ((pairs[1], true_areas), (pairs[0], predicted_areas))
    )
    true_bins, charged = _bin(true_areas), _bin(predicted_areas)
    order = np.lexsort((-true_areas[pairs[1]], covered))  # the most covered, smallest one comes last and stays
    charged[pairs[0][order]] = true_bins[pairs[1][order]]
    counts[0] += np.bincount(true_bins[1:], minlength=bins)
    for row, where, values in (
        (1, true_bins, true_areas),
        (2, true_bins, hits_true),
        (3, charged, predicted_areas - hits_predicted),
    ):
        np.add.at(counts[row], where[1:], values[1:])  # segment 0 is the background


def _segments(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Segment ids (h,w) int32, 0 outside the mask, and the area of each id."""
    _, ids, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    return ids, stats[:, cv2.CC_STAT_AREA].astype(np.int64)


def _overlaps(predicted: np.ndarray, true: np.ndarray, num_true: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (2,n) of predicted and true segments that share pixels, and how many; counted by runs along the rows."""
    shared = (predicted > 0) & (true > 0)
    keys = predicted[shared].astype(np.int64) * num_true + true[shared]
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    lengths = np.diff(starts, append=len(keys))
    unique, where = np.unique(keys[starts], return_inverse=True)
    covered = np.bincount(where, lengths, len(unique)).astype(np.int64)
    return np.stack(np.divmod(unique, num_true)), covered


def _bin(areas: np.ndarray) -> np.ndarray:
    return np.searchsorted(np.square(SEGMENT_SIDES), areas, side="right")


def _bounding_box(mask: np.ndarray) -> tuple[slice, slice] | None:
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    return (slice(y, y + height), slice(x, x + width)) if width else None
