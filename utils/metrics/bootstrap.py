"""Bootstrap over images: how much a score would vary with other images of the same kind."""

from collections.abc import Callable, Iterator

import numpy as np

LEVEL = 0.95
SEED = 0
_CHUNK = 256  # resamples made at once


def resample(num_images: int, resamples: int, seed: int = SEED) -> Iterator[np.ndarray]:
    """How often each image is drawn, in chunks (B, num_images) int64, when `num_images` are drawn with replacement."""
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, _CHUNK):
        rows = min(_CHUNK, resamples - start)
        drawn = rng.integers(0, num_images, (rows, num_images)) + num_images * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * num_images).reshape(rows, num_images)


def bootstrap_iou(counts: np.ndarray, resamples: int, seed: int = SEED) -> np.ndarray:
    """IoU of each class, and their mean, in each resample of the images.

    The same seed and number of images draw the same images, so that two evaluations of them can be compared in pairs.

    Args:
        counts: (N,C,2) int64: each image's pixels of the class in both truth and prediction, and in either.
        resamples: B.
        seed: Of the draws.

    Returns:
        (B,C+1) float64 in [0, 1], the mean over the classes present last; nan where there is nothing to divide by.
    """
    images, classes, _ = counts.shape
    # whole numbers below 2^53, so the product is exact in any order
    flat = counts.reshape(images, -1).astype(np.float64)
    parts = []
    for drawn in resample(images, resamples, seed):
        common, union = np.moveaxis((drawn.astype(np.float64) @ flat).reshape(-1, classes, 2), -1, 0)
        present = union > 0
        iou = np.where(present, common / np.where(present, union, 1), 0)
        number = present.sum(1)
        mean = np.where(number > 0, iou.sum(1) / np.maximum(number, 1), np.nan)
        parts.append(np.column_stack([np.where(present, iou, np.nan), mean]))
    return np.concatenate(parts)


def iou_intervals(counts: np.ndarray, resamples: int) -> tuple[list[list[float] | None], list[float] | None]:
    """Percentile intervals [low, high] of each class's IoU and of the mean IoU; arguments as in `bootstrap_iou`.

    None where fewer than two images bear on it: drawing one image again and again says nothing about others.
    """
    if not resamples:
        return [None] * counts.shape[1], None
    return _intervals(bootstrap_iou(counts, resamples), _bearing(counts))


def accuracy_intervals(counts: np.ndarray, resamples: int) -> dict[str, list[float] | None]:
    """Percentile intervals [low, high] of pixel accuracy, mean accuracy and frequency-weighted IoU.

    Args:
        counts: (N,C,3) int64: each image's pixels of the class in both truth and prediction, in the truth, and in the
            prediction.
        resamples: B; 0: every interval is None.
    """
    names = ("pixel_accuracy", "mean_accuracy", "frequency_weighted_iou")
    images, classes, _ = counts.shape
    if not resamples or (counts[..., 1].sum(1) > 0).sum() < 2:
        return dict.fromkeys(names)
    flat, parts = counts.reshape(images, -1).astype(np.float64), []
    for drawn in resample(images, resamples):
        common, truth, predicted = np.moveaxis((drawn.astype(np.float64) @ flat).reshape(-1, classes, 3), -1, 0)
        total, present, union = truth.sum(1), truth > 0, truth + predicted - common
        recall = np.where(present, common / np.where(present, truth, 1), 0)
        weighted = np.where(present, truth * common / np.where(present, union, 1), 0)
        with np.errstate(invalid="ignore"):  # resamples without a labelled pixel are nan, and left out below
            parts.append(
                np.column_stack([common.sum(1) / total, recall.sum(1) / present.sum(1), weighted.sum(1) / total])
            )
    values = np.concatenate(parts)
    ends = [50 * (1 - LEVEL), 50 * (1 + LEVEL)]
    return {
        name: np.percentile(column[~np.isnan(column)], ends).tolist()
        for name, column in zip(names, values.T, strict=True)
    }


def intervals(counts: np.ndarray, score: Callable[[np.ndarray], np.ndarray], resamples: int) -> list[float] | None:
    """Percentile interval [low, high] of any score of counts that add up over images.

    Args:
        counts: (N,...): of each image.
        score: Sums (B,...) float64 of resampled images -> (B,); nan where it doesn't exist.
        resamples: B; 0: there is no interval.
    """
    if not resamples:
        return None
    flat = counts.reshape(len(counts), -1).astype(np.float64)
    sums = (drawn.astype(np.float64) @ flat for drawn in resample(len(counts), resamples))
    values = np.concatenate([score(some.reshape(-1, *counts.shape[1:])) for some in sums])
    return np.percentile(values[~np.isnan(values)], [50 * (1 - LEVEL), 50 * (1 + LEVEL)]).tolist()


def difference_intervals(
    first: np.ndarray, second: np.ndarray, resamples: int
) -> tuple[list[list[float] | None], list[float] | None]:
    """As `iou_intervals`, of second - first, two evaluations of the same images: drawn in pairs."""
    difference = bootstrap_iou(second, resamples) - bootstrap_iou(first, resamples)
    return _intervals(difference, np.minimum(_bearing(first), _bearing(second)))


def _bearing(counts: np.ndarray) -> np.ndarray:
    """(C+1,) images with pixels of each class, and with any."""
    present = counts[..., 1] > 0
    return np.append(present.sum(0), present.any(1).sum())


def _intervals(values: np.ndarray, bearing: np.ndarray) -> tuple[list[list[float] | None], list[float] | None]:
    ends, found = [50 * (1 - LEVEL), 50 * (1 + LEVEL)], []
    for column, images in zip(values.T, bearing, strict=True):
        column = column[~np.isnan(column)]
        found.append(np.percentile(column, ends).tolist() if images > 1 and column.size else None)
    return found[:-1], found[-1]
