"""The file that keeps a split's class centroids: of one content only, complete or absent, checked when it is read."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from utils.array_file import read_arrays, write_arrays

VERSION = 3


def read_centroids(path: Path, header: Mapping, num_images: int, num_classes: int) -> list[np.ndarray] | None:
    """The centroids in the file, or None where it is missing, damaged, or about anything else than `header`."""
    arrays = read_arrays(path, header)
    if arrays is None or arrays.keys() != {"counts", "rows"}:
        return None
    counts, rows = arrays["counts"], arrays["rows"]
    if counts.dtype != np.int64 or counts.shape != (num_classes,) or rows.dtype != np.int32:
        return None
    if counts.min(initial=0) < 0 or rows.shape != (counts.sum(), 3):
        return None
    if rows.size and (rows.min() < 0 or rows[:, 0].max() >= num_images):
        return None
    return np.split(rows, np.cumsum(counts)[:-1])


def write_centroids(path: Path, header: Mapping, centroids: Sequence[np.ndarray]) -> None:
    """Write the file; where that is impossible, warn and continue without."""
    counts = np.array([len(rows) for rows in centroids], np.int64)
    write_arrays(path, header, {"counts": counts, "rows": np.concatenate(centroids)})
