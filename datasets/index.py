"""The index of a split, kept in a file beside the runs that doctor and trainer share; digests of the data from it.

A sample is looked at again where name, or size, time or inode of one of its files, is another than last time.
"""

import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from datasets.base import FileSplit, Split
from datasets.boost import BoostedSplit
from datasets.file_contents import look_at
from datasets.index_file import KeptIndex, read_index, write_index
from datasets.index_rows import SplitIndex
from datasets.part import SubsetSplit
from utils.logging import Progress
from utils.threads import parallel_map

VERSION = 1  # of what a look finds; another one looks again
YOUNG = 2 * 10**9  # ns; a file that was written just now may be written again within one tick of its clock
MIX = np.uint64(0x9E3779B97F4A7C15)
CHUNK = 4096  # samples whose rows are plain objects at a time


def open_index(split: Split, folder: Path, seconds: float | None = None, progress: bool = False) -> SplitIndex:
    """The index of a split, kept in `folder`; of several processes one makes it, see `from_first_rank`.

    Args:
        split: Any split. The file is that of all its samples, whichever of them a part of it asks for.
        folder: The run's `--ckpt`. Where it can't be written, a warning says so.
        seconds: After them no further sample is looked at; None: all are.
        progress: Show a bar.
    """
    look = _Look(Path(folder), None if seconds is None else time.monotonic() + seconds, progress)
    return _open(split, np.ones(len(split), bool), look)


def build_index(split: Split, seconds: float | None = None, progress: bool = False) -> SplitIndex:
    """The index of a split that nothing is known of and that isn't kept; see `open_index`."""
    look = _Look(None, None if seconds is None else time.monotonic() + seconds, progress)
    return _open(split, np.ones(len(split), bool), look)


def file_name(split: Split) -> str:
    """The part of a file's name that says which data it is about: equal for all runs on one split in one place."""
    digest = hashlib.sha256(json.dumps(_place(split)).encode()).hexdigest()
    return f"{split.dataset}_{split.split}_{digest[:12]}".replace("/", "-")


def _place(split: Split) -> list:
    """Data set, split, folder and how labels are read; other files don't make it another place, other drawings do."""
    if isinstance(split, SubsetSplit):
        return [_place(split.whole), [int(index) for index in split.indices]]
    if isinstance(split, BoostedSplit):
        return [_place(split.fine), _place(split.coarse)]
    if not isinstance(split, FileSplit):
        return [split.dataset, split.split, split.fingerprint()]
    folders = [os.path.abspath(os.path.dirname(before)) for before, _ in split.items.places]
    place = os.path.realpath(os.path.commonpath(folders)) if folders else ""
    return [split.dataset, split.split, place, split.label_code]


@dataclass(frozen=True)
class _Look:
    """A look at samples' files, until `end` (seconds of the monotonic clock; None: to the last), kept in `folder`."""

    folder: Path | None
    end: float | None
    progress: bool

    def __call__(self, split: Split, rows: np.ndarray) -> SplitIndex:
        def look(row: int) -> dict | None:
            return None if self.end is not None and time.monotonic() > self.end else look_at(split, row)

        shown = self.progress and len(rows) > 0
        seen = iter(Progress(parallel_map(look, rows.tolist()), "files", shown, total=len(rows)))
        parts = [SplitIndex.of(())]
        while part := list(islice(seen, CHUNK)):
            parts.append(SplitIndex.of(part))
        return SplitIndex.join(parts)


def _open(split: Split, wanted: np.ndarray, look: _Look) -> SplitIndex:
    """The index of all samples; those that aren't `wanted`, bool (N,), may be missing from it."""
    if isinstance(split, SubsetSplit):
        rows, needed = np.array(split.indices, np.int64), np.zeros(len(split.whole), bool)
        needed[rows[wanted]] = True
        return _open(split.whole, needed, look).take(rows)
    if isinstance(split, BoostedSplit):
        border = len(split.fine)
        return SplitIndex.join([_open(split.fine, wanted[:border], look), _open(split.coarse, wanted[border:], look)])
    return _open_files(split, wanted, look)


def _open_files(split: Split, wanted: np.ndarray, look: _Look) -> SplitIndex:
    header = {"index": VERSION, "place": _place(split)}
    path = None if look.folder is None else look.folder / f"index_{file_name(split)}.npz"
    names, stats, since = name_digests(split.names), split.file_stats(), time.time_ns() - YOUNG
    kept = read_index(path, header) if path else None
    kept = kept or KeptIndex(names[:0], stats[:0], SplitIndex.of(()))
    known = kept.find(names, stats)
    missing = np.flatnonzero((known < 0) & wanted)
    if not len(missing) and np.array_equal(known, np.arange(len(kept.names))):
        return kept.index
    known[missing] = len(kept.names) + np.arange(len(missing))
    # -1, a sample that isn't wanted, is the last row
    index = SplitIndex.join([kept.index, look(split, missing), SplitIndex.of([None])]).take(known)
    young = ((stats[:, :, 1] > since) & (stats[:, :, 1] <= time.time_ns())).any(1)
    if path:
        write_index(path, header, KeptIndex(names, np.where(young[:, None, None], -1, stats), index))
    return index


def name_digests(names: Sequence[str]) -> np.ndarray:
    """8 bytes of a digest of each name: uint64 (N,)."""
    digests = (hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest() for name in names)
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


def sample_keys(index: SplitIndex, names: Sequence[str]) -> np.ndarray:
    """What identifies each sample: uint64 (N,2), digests of its name and of the content of its image and label."""
    contents = index.digests[:, 0] * MIX + index.digests[:, 1]  # modulo 2**64
    return np.stack([name_digests(names), contents], axis=1)


def data_digest(index: SplitIndex, split: Split) -> str:
    """SHA-256 (hex) of what a split holds: names and contents of its samples in any order, and its class table.

    Where the files lie and when they were written doesn't count.
    """
    keys = sample_keys(index, split.names)
    return _digest(split, keys[np.lexsort(keys.T)])


def labels_digest(index: SplitIndex, split: Split) -> str:
    """SHA-256 (hex) of the labels of a split in their order, and its class table."""
    return _digest(split, index.digests[:, 1])


def _digest(split: Split, numbers: np.ndarray) -> str:
    table = split.classes.to_dict(split.dataset) | {"code": split.label_code}
    digest = hashlib.sha256(json.dumps(table, sort_keys=True).encode())
    if len(split) and not split.files(0):  # images that are no files have no digests
        digest.update(split.fingerprint().encode())
    digest.update(numbers.astype("<u8").tobytes())
    return digest.hexdigest()
