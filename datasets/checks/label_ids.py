"""The ids in the labels of a split, beside what its class table makes of them."""

import numpy as np

from datasets.base import FileSplit, Split
from datasets.boost import BoostedSplit
from datasets.index import SplitIndex
from datasets.part import SubsetSplit
from utils.constants import IGNORE_LABEL

UNKNOWN = -1


class LabelIds:
    """What an index says of N labels; a row is an id in one of the labels, M in all.

    Attributes:
        table: The split's classes.
        in_colors: The labels show colours; ids only stand for them.
        labelled: bool (N,): the label could be read.
        owner: int64 (M,), the label that a row belongs to.
        ids: uint8 (M,), its original id.
        train_ids: int64 (M,), its train id; 255 where ignored, `UNKNOWN` where the table doesn't have it.
        pixels: int64 (M,).
    """

    def __init__(self, split: Split, index: SplitIndex) -> None:
        self.table, self._starts, counts = split.classes, index.starts, np.diff(index.starts)
        self.in_colors = split.label_code.startswith("colors")
        self.labelled, self.owner = counts > 0, np.repeat(np.arange(len(index)), counts)
        self.ids, self.pixels = index.ids, index.pixels
        meaning = np.full(256, UNKNOWN)
        if not _reads_files(split):  # its ignored pixels are counted as 255
            meaning[IGNORE_LABEL] = IGNORE_LABEL
        for label_id, train_id in self.table.id_to_train.items():
            meaning[label_id] = train_id
        self.train_ids = meaning[self.ids]

    def __len__(self) -> int:
        """How many labels could be read."""
        return int(self.labelled.sum())

    def labels_with(self, rows: np.ndarray) -> np.ndarray:
        """bool (N,): the label has one of the chosen rows, bool (M,)."""
        return np.bincount(self.owner[rows], minlength=len(self.labelled)) > 0

    @property
    def of_classes(self) -> np.ndarray:
        """bool (M,): the id is that of a class."""
        return (self.train_ids != UNKNOWN) & (self.train_ids != IGNORE_LABEL)

    def class_pixels(self) -> np.ndarray:
        """Pixels of each class over all labels, int64 (num_classes,)."""
        rows, length = self.of_classes, self.table.num_classes
        return np.bincount(self.train_ids[rows], self.pixels[rows], length).astype(np.int64)

    def class_labels(self) -> np.ndarray:
        """How many labels have each class, int64 (num_classes,)."""
        rows = self.of_classes
        pairs = np.unique(self.owner[rows] * 256 + self.train_ids[rows])  # several ids may be one class
        return np.bincount(pairs % 256, minlength=self.table.num_classes)

    def unknown(self, label: int) -> list[tuple[int, int]]:
        """(id, pixels) of the ids in one label that the table doesn't have."""
        own = slice(self._starts[label], self._starts[label + 1])
        rows = zip(*(values[own].tolist() for values in (self.ids, self.pixels, self.train_ids)), strict=True)
        return [(label_id, pixels) for label_id, pixels, train_id in rows if train_id == UNKNOWN]

    def id_pixels(self) -> dict[int, int]:
        """Original id -> pixels, of those that occur."""
        pixels = np.bincount(self.ids, self.pixels, 256).astype(np.int64)
        return {i: int(pixels[i]) for i in np.flatnonzero(pixels).tolist()}

    def shares(self) -> dict[int, float]:
        """Original id -> fraction of all pixels, the most frequent first."""
        pixels = self.id_pixels()
        return {i: pixels[i] / sum(pixels.values()) for i in sorted(pixels, key=lambda i: -pixels[i])}

    def held(self, most: int = 8) -> str:
        """What the labels hold, in words: `0 (87.5%, background), 255 (12.5%, ignored)`, without ids for colours."""
        shares = self.shares()
        words = [
            f"{self.meaning(i)} ({share:.1%})" if self.in_colors else f"{i} ({share:.1%}, {self.meaning(i)})"
            for i, share in list(shares.items())[:most]
        ]
        return ", ".join(words) + (f" and {len(shares) - most} more" if len(shares) > most else "")

    def meaning(self, label_id: int) -> str:
        """The class of an id, or that there is none."""
        train_id = self.table.id_to_train.get(label_id)
        if train_id is None:
            return "no class"
        return "ignored" if train_id == IGNORE_LABEL else self.table.names[train_id]


def _reads_files(split: Split) -> bool:
    """True if the index has the ids that stand in label files."""
    while isinstance(split, SubsetSplit | BoostedSplit):
        split = split.whole if isinstance(split, SubsetSplit) else split.fine
    return isinstance(split, FileSplit)


def as_table(ids: LabelIds) -> list[dict]:
    """`id`, `name`, `pixels` (their fraction of those of all classes), `labels` (how many have it), by train id."""
    table, pixels = ids.table, ids.class_pixels()
    shares = pixels / max(1, pixels.sum())
    rows = zip(table.label_ids, table.names, shares.tolist(), ids.class_labels().tolist(), strict=True)
    return [dict(zip(("id", "name", "pixels", "labels"), row, strict=True)) for row in rows]
