"""Faults of known kinds, planted into labels as they are read; files stay as they are."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from scripts.label_fault_search.kinds import MISSING, SHIFT, SWAP, WRONG_IMAGE
from scripts.label_fault_search.regions import Box
from utils.constants import IGNORE_LABEL

SHIFTS = (0.03, 0.12)  # of the long side
PIECE = 0.003  # of the image: the smallest piece that gets another class
OBJECT = (0.001, 0.1)  # of the image: the smallest and largest piece that is painted over


@dataclass(frozen=True)
class Planted:
    """A fault: its kind, and its box x, y, width, height in pixels; None: the whole label."""

    kind: str
    box: Box | None = None


@dataclass(frozen=True)
class Planter:
    """Makes faulty labels.

    Attributes:
        load: Index -> train ids (H,W) uint8.
        count: Images of the split.
        classes: C.
        confused: Class -> the class that it is most often taken for.
    """

    load: Callable[[int], np.ndarray]
    count: int
    classes: int
    confused: np.ndarray

    def make(self, kind: str, index: int, rng: np.random.Generator) -> tuple[Planted, np.ndarray] | None:
        """A fault of this kind in the label of an image, and the label; None where it has nothing to do that with."""
        label = self.load(index)
        if not (label < self.classes).any():
            return None
        makers = {SHIFT: self._shift, WRONG_IMAGE: self._other_file, SWAP: self._swap, MISSING: self._paint_over}
        made = makers[kind](label, index, rng)
        return None if made is None or np.array_equal(made[1], label) else made

    def _shift(self, label: np.ndarray, index: int, rng: np.random.Generator) -> tuple[Planted, np.ndarray]:
        length, angle = rng.uniform(*SHIFTS) * max(label.shape), rng.uniform(0, 2 * np.pi)
        move = np.float32([[1, 0, round(length * np.cos(angle))], [0, 1, round(length * np.sin(angle))]])
        size = label.shape[::-1]
        return Planted(SHIFT), cv2.warpAffine(label, move, size, flags=cv2.INTER_NEAREST, borderValue=IGNORE_LABEL)

    def _other_file(self, label: np.ndarray, index: int, rng: np.random.Generator) -> tuple[Planted, np.ndarray] | None:
        near = self.count // 10  # neighbours of a video are nearly the same picture
        others = [i for i in range(self.count) if abs(i - index) > near]
        other = self.load(int(rng.choice(others))) if others else label
        return (Planted(WRONG_IMAGE), other) if others and other.shape == label.shape else None

    def _swap(self, label: np.ndarray, index: int, rng: np.random.Generator) -> tuple[Planted, np.ndarray] | None:
        pieces = [piece for c in range(self.classes) for piece in self._pieces(label, c, PIECE, 1)]
        if not pieces:
            return None
        where = pieces[rng.integers(len(pieces))]
        return Planted(SWAP, _box(where)), np.where(where, self.confused[label[where][0]], label).astype(np.uint8)

    def _paint_over(self, label: np.ndarray, index: int, rng: np.random.Generator) -> tuple[Planted, np.ndarray] | None:
        """With the class that is most frequent around it."""
        pieces = [piece for c in range(self.classes) for piece in self._pieces(label, c, *OBJECT)]
        for where in (pieces[i] for i in rng.permutation(len(pieces))):
            ring = cv2.dilate(where.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool) & ~where
            around = np.bincount(label[ring & (label < self.classes)], minlength=1)
            if around.sum() > 0.9 * ring.sum():  # not at the edge of the image, nor of what is labelled
                return Planted(MISSING, _box(where)), np.where(where, around.argmax(), label).astype(np.uint8)
        return None

    @staticmethod
    def _pieces(label: np.ndarray, train_id: int, least: float, most: float) -> list[np.ndarray]:
        mask = (label == train_id).astype(np.uint8)
        count, places, rows, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        areas = rows[:, cv2.CC_STAT_AREA] / label.size
        return [places == number for number in range(1, count) if least <= areas[number] <= most]


def _box(where: np.ndarray) -> Box:
    return tuple(map(int, cv2.boundingRect(where.astype(np.uint8))))
