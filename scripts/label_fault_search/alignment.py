"""Does a label fit its image better when it is moved, or does it belong to another image?"""

from dataclasses import dataclass

import cv2
import numpy as np

SIDE = 128  # long side, in cells, of the maps that are moved over each other
GRID = (18, 24)  # rows and columns of the maps that are compared with those of other images
FARTHEST = 0.3  # of a side: how far a label may have moved
OVERLAP = 0.5  # of the labelled cells that have to stay in the image


@dataclass(frozen=True)
class Alignment:
    """How well a label fits its image, as it is and moved.

    Attributes:
        agreement: Mean probability of the label's class.
        moved: The same, with the label where it fits best.
        offset: How far it has to be moved, (x, y) in pixels of the image, to about a hundredth of its long side.
        label_grid: Classes (GRID) uint8 of the label; `predicted_grid` of the prediction.
    """

    agreement: float
    moved: float
    offset: tuple[int, int]
    label_grid: np.ndarray
    predicted_grid: np.ndarray


def align(probability: np.ndarray, label: np.ndarray) -> Alignment:
    """Of probabilities (C,H,W) float32 and train ids (H,W) uint8 with at least one labelled pixel."""
    classes, height, width = probability.shape
    factor = min(1.0, SIDE / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    seen = _shrink(probability, size)
    given = _shrink((label == np.arange(classes, dtype=np.uint8)[:, None, None]).astype(np.float32), size)
    products, labelled = _correlate(seen, given), _correlate(np.ones_like(seen[:1]), given.sum(0, keepdims=True))
    rows, columns = (_distances(length) for length in products.shape)
    far = (np.abs(rows)[:, None] > FARTHEST * size[1]) | (np.abs(columns) > FARTHEST * size[0])
    enough = labelled > OVERLAP * labelled[0, 0]
    fits = np.where(enough & ~far, products / np.maximum(labelled, 1e-6), 0)
    y, x = np.unravel_index(fits.argmax(), fits.shape)
    return Alignment(
        agreement=float(fits[0, 0]),
        moved=float(fits[y, x]),
        offset=(round(float(columns[x]) * width / size[0]), round(float(rows[y]) * height / size[1])),
        label_grid=cv2.resize(label, GRID[::-1], interpolation=cv2.INTER_NEAREST),
        predicted_grid=cv2.resize(probability.argmax(0).astype(np.uint8), GRID[::-1], interpolation=cv2.INTER_NEAREST),
    )


def fit_of_others(grid: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Share of the labelled cells of a label's `grid` that are as in each of the images `predicted` (n,GRID)."""
    labelled = grid < classes
    return (predicted[:, labelled] == grid[labelled]).mean(1) if labelled.any() else np.zeros(len(predicted))


def _shrink(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.stack([cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in maps])


def _correlate(seen: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Sum over classes and places p of given(p) seen(p + d), for each d; (C,h,w) twice -> twice the sides."""
    shape = [2 * side for side in seen.shape[1:]]
    product = np.fft.rfft2(seen, shape) * np.fft.rfft2(given, shape).conj()
    return np.fft.irfft2(product.sum(0), shape)


def _distances(length: int) -> np.ndarray:
    """The distance that each place of a correlation stands for: 0, 1, ..., -2, -1."""
    return np.fft.fftfreq(length, 1 / length).round().astype(int)
