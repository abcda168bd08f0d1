"""The file that keeps an index from one run to the next."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datasets.index_rows import PER_SAMPLE, SplitIndex
from utils.array_file import read_arrays, write_arrays

# dtype and shape of what the file holds; N samples, M rows of ids, K kinds of modes
LAYOUT = {
    "names": (np.uint64, "N"),
    "stats": (np.int64, "N23"),
    "read": (np.bool_, "N"),
    "image_sizes": (np.int32, "N2"),
    "orientations": (np.uint8, "N"),
    "label_sizes": (np.int32, "N2"),
    "digests": (np.uint64, "N2"),
    "modes": (np.uint8, "N2"),
    "kinds": (np.dtype("U16"), "K"),
    "starts": (np.int64, "S"),
    "ids": (np.uint8, "M"),
    "pixels": (np.int64, "M"),
}


@dataclass(frozen=True)
class KeptIndex:
    """An index and what its rows are known by: digests of names, uint64 (N,), and `Split.file_stats`."""

    names: np.ndarray
    stats: np.ndarray
    index: SplitIndex

    def find(self, names: np.ndarray, stats: np.ndarray) -> np.ndarray:
        """The row of each sample; -1 where it isn't there, or its files are others: int64 (N,)."""
        if not len(self.names):
            return np.full(len(names), -1)
        if np.array_equal(names, self.names):
            rows = np.arange(len(names))
        else:
            order = np.argsort(self.names, kind="stable")
            rows = order[np.searchsorted(self.names[order], names).clip(max=len(order) - 1)]
        same = (self.names[rows] == names) & self.index.read[rows] & (self.stats[rows] == stats).all((1, 2))
        return np.where(same, rows, -1)


def write_index(path: Path, header: dict, kept: KeptIndex) -> None:
    """Keep the index for the next start, but for samples that something is wrong with: they are looked at again."""
    index, good = kept.index, kept.index.read.copy()
    good[list(index.faults)] = False
    kinds = sorted({*index.image_modes, *index.label_modes})
    codes = {kind: code for code, kind in enumerate(kinds)}
    modes = [[codes[mode] for mode in modes] for modes in (index.image_modes, index.label_modes)]
    arrays = {name: getattr(index, name) for name in (*PER_SAMPLE, "starts", "ids", "pixels")}
    arrays |= {"kinds": np.array(kinds, "U16"), "modes": np.array(modes, np.uint8).T}
    write_arrays(path, header, arrays | {"read": good, "names": kept.names, "stats": kept.stats})


def read_index(path: Path, header: dict) -> KeptIndex | None:
    """What is in the file; None where it is missing, damaged, or of other data."""
    arrays = read_arrays(path, header)
    if not arrays or not _is_whole(arrays):
        return None
    names, stats, kinds = arrays.pop("names"), arrays.pop("stats"), arrays.pop("kinds").tolist()
    modes = arrays.pop("modes").T.tolist()
    image_modes, label_modes = ([kinds[code] for code in codes] for codes in modes)
    return KeptIndex(names, stats, SplitIndex(**arrays, image_modes=image_modes, label_modes=label_modes))


def _is_whole(arrays: dict[str, np.ndarray]) -> bool:
    """True where these are an index's arrays, and what points into another stays inside."""
    if arrays.keys() != LAYOUT.keys() or any(array.ndim == 0 for array in arrays.values()):
        return False
    count, total, kinds = (len(arrays[name]) for name in ("names", "ids", "kinds"))
    sizes = {"N": count, "S": count + 1, "M": total, "K": kinds, "2": 2, "3": 3}
    for name, (dtype, shape) in LAYOUT.items():
        if arrays[name].dtype != dtype or arrays[name].shape != tuple(sizes[axis] for axis in shape):
            return False
    starts, modes = arrays["starts"], arrays["modes"]
    inside = count > 0 and starts[0] == 0 and starts[-1] == total and int(modes.max()) < kinds
    return bool(inside and (np.diff(starts) >= 0).all())
