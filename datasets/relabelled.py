"""A split with some of its classes ignored."""

from collections.abc import Sequence

import cv2
import numpy as np

from datasets.base import Split
from datasets.part import SubsetSplit
from utils.constants import IGNORE_LABEL


class ReducedSplit(SubsetSplit):
    """All samples of a split; its classes stay, but pixels of those that are `ignored`, by name, are void."""

    def __init__(self, whole: Split, ignored: Sequence[str]) -> None:
        super().__init__(whole, range(len(whole)))
        self._table = np.arange(256, dtype=np.uint8)
        self._table[[self.classes.names.index(name) for name in ignored]] = IGNORE_LABEL

    def load_label(self, index: int) -> np.ndarray:
        return cv2.LUT(super().load_label(index), self._table)
