"""Are the labels of turned photos drawn on the stored pixels, or upright? Their borders tell: images have edges there.

A phone stores pixels as its sensor lies and says in EXIF how to turn them. Most labelling tools show and export the
photo upright, some as it is stored.
"""

from collections.abc import Iterable

import cv2
import numpy as np

from datasets.decoding import turn_back

LONG_SIDE = 256  # pixels of the pictures that are compared: labels a few pixels off still fit
CLEAR, CLEAR_ALONE = 0.1, 0.2  # of the mean; CamVid's images: 0.35 to 0.7, with labels 5 pixels off 0.14 to 0.26


def labels_are_upright(image_size: tuple[int, int], label_size: tuple[int, int], orientation: int) -> bool | None:
    """What the sizes (height, width) of stored pixels and label tell about a turned photo; None: nothing."""
    if orientation < 5 or image_size[0] == image_size[1] or label_size not in (image_size, image_size[::-1]):
        return None
    return label_size == image_size[::-1]


def upright_fit(image: np.ndarray, ids: np.ndarray, orientation: int) -> float | None:
    """How much better a label fits an image if it is upright: > 0 if so, < 0 if it fits the stored pixels.

    The logarithm of the mean gradient at the label's borders if it is upright, over that if it isn't.

    Args:
        image: Stored pixels, RGB (H,W,3) uint8.
        ids: Label (H,W) uint8 of the same size whichever way it is turned.
        orientation: EXIF's.

    Returns:
        None for a label without borders or an image without edges.
    """
    scale = min(1.0, LONG_SIDE / max(ids.shape))
    size = tuple(max(1, round(side * scale)) for side in ids.shape[::-1])
    gray = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    edges = np.hypot(cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1))
    ids = cv2.resize(ids, size, interpolation=cv2.INTER_NEAREST)
    square = np.ones((3, 3), np.uint8)
    borders = cv2.dilate(ids, square) != cv2.erode(ids, square)
    turned = turn_back(borders, orientation)
    if not borders.any() or turned.shape != edges.shape:
        return None
    stored, upright = float(edges[borders].mean()), float(edges[turned].mean())
    return float(np.log(upright / stored)) if min(stored, upright) > 0 else None


def is_clear(fits: Iterable[float]) -> bool | None:
    """True if labels are upright by all their fits, False if they are as stored, None where that isn't clear."""
    fits = list(fits)
    mean = float(np.mean(fits)) if fits else 0.0
    if not fits or abs(mean) < CLEAR + CLEAR_ALONE / len(fits):
        return None
    return mean > 0
