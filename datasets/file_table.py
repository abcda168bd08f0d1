"""The files of a split's samples, kept as strings and codes: a million objects with two paths each would cost a GB."""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.threads import parallel_map

NO_FILE = -1
CHUNK = 1024  # samples whose files one thread looks up at a time
SLOW = 1e-4  # seconds for a sample's two files


@dataclass(frozen=True)
class FileItem:
    """A sample on disk; `label` is None where the split has none."""

    name: str
    image: Path
    label: Path | None


class FileTable(Sequence[FileItem]):
    """A sequence of `FileItem`, made when one is asked for.

    A path is kept as its place, what stands before and after the sample's name in it, because few places hold many.

    Args:
        names: Of the samples, N.
        images: Paths of the images, N.
        labels: Paths of the labels, None where there is none; unset: none has one.
    """

    def __init__(
        self,
        names: Iterable[str] = (),
        images: Iterable[str | Path] = (),
        labels: Iterable[str | Path | None] | None = None,
    ) -> None:
        self.names, known = list(names), {}
        columns = [[_code(known, *pair) for pair in zip(self.names, images, strict=True)]]
        if labels is None:
            columns.append([NO_FILE] * len(self.names))
        else:
            columns.append([_code(known, *pair) for pair in zip(self.names, labels, strict=True)])
        self._codes, self.places = np.array(columns, np.int32).T, list(known)
        self._stats: np.ndarray | None = None

    @classmethod
    def of(cls, items: Iterable[FileItem]) -> "FileTable":
        """The table of some items; a table itself is returned as it is."""
        if isinstance(items, FileTable):
            return items
        rows = [(item.name, item.image, item.label) for item in items]
        return cls(*([row[column] for row in rows] for column in range(3)))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, key: int | slice) -> "FileItem | FileTable":
        """An item; for a slice a table."""
        if isinstance(key, slice):
            return self.take(range(len(self))[key])
        image, label = self._paths_of(key)
        return FileItem(self.names[key], Path(image), None if label is None else Path(label))

    def __add__(self, other: Iterable[FileItem]) -> "FileTable":
        other = FileTable.of(other)
        if not len(self):
            return other
        return FileTable(self.names + other.names, *([*self.paths(k), *other.paths(k)] for k in range(2)))

    def take(self, rows: Sequence[int]) -> "FileTable":
        """The table of some rows, in this order."""
        taken, rows = FileTable(), list(rows)
        taken.names, taken.places = [self.names[row] for row in rows], self.places
        taken._codes = self._codes[rows].reshape(-1, 2)
        return taken

    @property
    def has_labels(self) -> bool:
        """True if every sample has a label."""
        return not (self._codes[:, 1] == NO_FILE).any()

    def paths(self, kind: int) -> Iterator[str | None]:
        """Paths of all images (`kind` 0) or labels (1), None where there is none."""
        codes = self._codes[:, kind].tolist()
        return (self._join(name, code) for name, code in zip(self.names, codes, strict=True))

    def stats(self) -> np.ndarray:
        """(bytes, time of change in ns, inode) of each sample's image and label: int64 (N,2,3).

        0 where there is no file. Each file is looked up once, the first time.
        """
        if self._stats is None:
            rows, start = range(len(self)), time.monotonic()
            parts = [self._look_up(rows[:CHUNK])]
            # a network drive lets many look-ups wait at once; on a local disk threads would wait for each other
            several = parallel_map if time.monotonic() - start > CHUNK * SLOW else map
            parts += several(self._look_up, [rows[i : i + CHUNK] for i in range(CHUNK, len(rows), CHUNK)])
            self._stats = np.concatenate(parts)
        return self._stats

    def _look_up(self, rows: range) -> np.ndarray:
        found = [_stat(path) for row in rows for path in self._paths_of(row)]
        return np.array(found, np.int64).reshape(-1, 2, 3)

    def _paths_of(self, row: int) -> list[str | None]:
        return [self._join(self.names[row], code) for code in self._codes[row].tolist()]

    def _join(self, name: str, code: int) -> str | None:
        if code == NO_FILE:
            return None
        before, after = self.places[code]
        return before if after is None else f"{before}{name}{after}"


def _code(known: dict[tuple[str, str | None], int], name: str, path: str | Path | None) -> int:
    """The number of a path's place, which is added to the `known` ones."""
    if path is None:
        return NO_FILE
    before, found, after = str(path).rpartition(name)
    place = (before, after) if found else (str(path), None)  # under another name than the sample's
    return known.setdefault(place, len(known))


def _stat(path: str | None) -> tuple[int, int, int]:
    if path is None:
        return 0, 0, 0
    try:
        status = os.stat(path)
    except OSError:  # gone: reading it says so
        return 0, 0, 0
    return status.st_size, status.st_mtime_ns, status.st_ino & (2**63 - 1)
