"""Scores close to the boundaries between true classes: counts in trimap bands."""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from utils.metrics.confusion import confusion_matrix

TRIMAP_WIDTHS = (1, 2, 4, 8, 16, 32)  # pixels


def trimap_counts(predicted: np.ndarray, true: np.ndarray, num_classes: int, ignore_label: int) -> np.ndarray:
    """Pixels, hits and false positives of each class within each of `TRIMAP_WIDTHS` of a true class boundary.

    A labelled pixel is within w pixels of a boundary where the square of 2w + 1 pixels around it holds another true
    class. Ignored pixels are no class: they make no boundary, and one that is hidden under them counts as far as it is.

    Args:
        predicted: Train ids (H,W) uint8; C or more is none of the classes.
        true: Train ids (H,W) uint8, `ignore_label` where not scored.
        num_classes: C, at most 255.
        ignore_label: Label that isn't scored.

    Returns:
        (3,C,len(TRIMAP_WIDTHS)) int64: pixels of the truth, the hits among them, and pixels of other true classes that
        are predicted as the class; a band holds the narrower ones.

    Source: Kohli et al., Robust Higher Order Potentials for Enforcing Label Consistency, IJCV 2009; Krähenbühl and
        Koltun, Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials, NIPS 2011.
    """
    counts = np.zeros((3, num_classes, len(TRIMAP_WIDTHS)), np.int64)
    for i, near in enumerate(trimap_bands(true, TRIMAP_WIDTHS, ignore_label)):
        found = np.minimum(predicted[near], num_classes)  # of no class
        matrix = confusion_matrix(found, true[near], num_classes + 1, ignore_label)[:num_classes, :]
        hits = matrix.diagonal()
        counts[:, :, i] = matrix.sum(1), hits, matrix.sum(0)[:num_classes] - hits
    return counts


def trimap_bands(true: np.ndarray, widths: Sequence[int], ignore_label: int) -> Iterator[np.ndarray]:
    """For each width w, where (H,W) bool the square of 2w + 1 pixels holds another class than its centre's.

    Args:
        true: Train ids (H,W) uint8, `ignore_label` where not scored: such pixels make no boundary, and what the bands
            say of them means nothing.
        widths: In pixels.
        ignore_label: Label that isn't scored.
    """
    ignored = true == ignore_label
    low, high = (np.where(ignored, np.uint8(value), true) for value in (255, 0))  # never a window's extreme
    for width in widths:
        window = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
        yield (cv2.dilate(high, window) != true) | (cv2.erode(low, window) != true)
