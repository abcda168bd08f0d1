"""Some samples of a split."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from datasets.base import FileSplit, Split
from utils.errors import OptionError


class SubsetSplit(Split):
    """The samples `indices` of a split, in this order.

    Args:
        whole: Any split.
        indices: Into `whole`; one may come more than once.
    """

    def __init__(self, whole: Split, indices: Sequence[int]) -> None:
        self.whole, self.indices = whole, list(indices)
        self.dataset, self.split, self.classes = whole.dataset, whole.split, whole.classes
        self.names, self.has_labels = [whole.names[index] for index in self.indices], whole.has_labels
        self.label_code, self.notes = whole.label_code, whole.notes

    def load_image(self, index: int) -> np.ndarray:
        return self.whole.load_image(self.indices[index])

    def image_size(self, index: int) -> tuple[int, int]:
        return self.whole.image_size(self.indices[index])

    def load_label(self, index: int) -> np.ndarray:
        return self.whole.load_label(self.indices[index])

    def files(self, index: int) -> tuple[Path, ...]:
        return self.whole.files(self.indices[index])

    def image_paths(self) -> Iterable[str]:
        return (str(files[0]) for index in self.indices if (files := self.whole.files(index)))

    def file_stats(self) -> np.ndarray:
        return self.whole.file_stats()[self.indices]

    def reading(self) -> tuple:
        return self.whole.reading()

    def describe(self, index: int) -> str:
        return self.whole.describe(self.indices[index])

    def fingerprint(self) -> str:
        """Of files only those of the chosen samples are looked at."""
        whole = self.whole
        if isinstance(whole, FileSplit):
            part = FileSplit(whole.dataset, whole.split, whole.classes, whole.items.take(self.indices))
            part.label_code = whole.label_code
            return part.fingerprint()
        return hashlib.sha256(f"{self.whole.fingerprint()} {self.indices}".encode()).hexdigest()


def limit_images(split: Split, count: int | None) -> Split:
    """`count` images of a split (`--limit_images`), chosen at random, always alike, in the split's order; None: all.

    A smaller number chooses some of those that a larger one does.

    Raises:
        OptionError: The split has fewer.
    """
    if count is None:
        return split
    if count > len(split):
        raise OptionError(
            f"--limit_images {count}: {split.dataset} {split.split} has {len(split)}; give as many or fewer, or leave"
            " it out"
        )
    return SubsetSplit(split, sorted(np.random.default_rng(0).permutation(len(split))[:count].tolist()))
