"""The search: every image once, then all of them beside each other."""

from dataclasses import dataclass

import numpy as np

from scripts.label_fault_search.alignment import Alignment, align
from scripts.label_fault_search.evidence import Confusions, Counts
from scripts.label_fault_search.kinds import SHIFT, KindFinder
from scripts.label_fault_search.regions import Region, find_regions


@dataclass(frozen=True)
class Fault:
    """How likely an image's label is wrong, and where.

    Attributes:
        index: In the split.
        score: Of the worst region; 0 where there is none. Comparable within one search only.
        kind: One of `kinds.KINDS`.
        regions: With their scores, the worst first.
        offset: Of a shift: how far the label has to be moved, (x, y) in pixels.
        like: Of a label that seems to be another image's: that one's index.
    """

    index: int
    score: float
    kind: str
    regions: list[tuple[float, Region]]
    offset: tuple[int, int] | None = None
    like: int | None = None


@dataclass(frozen=True)
class _Seen:
    """What is kept of an image: a few kilobytes."""

    index: int
    pixels: int
    regions: list[Region]
    counts: Counts
    alignment: Alignment


class Search:
    """Collects what the images show, and ranks them.

    Args:
        classes: C.
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self._confusions = Confusions(classes)
        self._seen: dict[int, _Seen] = {}

    @property
    def num_images(self) -> int:
        """Images with labels that were added."""
        return len(self._seen)

    def add(self, index: int, probability: np.ndarray, label: np.ndarray) -> None:
        """Look at an image: probabilities (C,H,W) float32, train ids (H,W) uint8; one without labels is left out."""
        if (label < self.classes).any():
            counts = Counts.of(probability, label)
            regions, alignment = find_regions(probability, label), align(probability, label)
            self._keep(_Seen(index, label.size, regions, counts, alignment))

    def take(self, other: "Search", index: int) -> None:
        """Add an image that another search has looked at."""
        if index in other._seen:
            self._keep(other._seen[index])

    def _keep(self, seen: _Seen) -> None:
        self._confusions.add(seen.counts, seen.pixels)
        self._seen[seen.index] = seen

    def faults(self) -> list[Fault]:
        """Every image that has labels, the most suspicious first."""
        if not self._seen:
            return []
        seen = list(self._seen.values())
        kinds = KindFinder([one.alignment for one in seen], self.classes)
        found = []
        for place, one in enumerate(seen):
            scored = [(self._confusions.score(region, one.counts), region) for region in one.regions]
            scored = sorted((pair for pair in scored if pair[0] > 0), key=lambda pair: -pair[0])
            kind, like = kinds.find(place, scored[0][1] if scored else None)
            offset = one.alignment.offset if kind == SHIFT else None
            score = scored[0][0] if scored else 0.0
            found.append(Fault(one.index, score, kind, scored, offset, None if like is None else seen[like].index))
        return sorted(found, key=lambda fault: (-fault.score, fault.index))

    def matrix(self, index: int) -> np.ndarray:
        """Confusion matrix (C,C) int64, rows = label, of an image."""
        counts, shape = self._seen[index].counts, self._confusions.total.shape
        matrix = np.zeros(shape, np.int64)
        matrix.reshape(-1)[counts.indices] = counts.pixels
        return matrix.sum(-1)
