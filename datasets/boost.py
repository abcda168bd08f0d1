"""Coarse boost: rare classes are also drawn from coarsely labelled images.

Source: Zhu et al., Improving Semantic Segmentation via Video Propagation and Label Relaxation, CVPR 2019, section 4.1
"""

import hashlib
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from datasets.base import Split
from utils.errors import OptionError


class BoostedSplit(Split):
    """The samples of a training split, then coarse ones that are drawn only for the classes that are boosted.

    An epoch is as long as `fine` and its plain draws are from `fine`. Draws that are centred on a boosted class are
    from both, the other classes' from `fine`.

    Args:
        fine: The split that is trained on.
        coarse: Coarsely labelled samples of the same data set.
        boosted: Train ids of the classes that are topped up.

    Raises:
        OptionError: `boosted` holds no train id of the data set, or `fine` holds the coarse samples already.
    """

    def __init__(self, fine: Split, coarse: Split, boosted: Sequence[int]) -> None:
        wrong = [class_id for class_id in boosted if not 0 <= class_id < fine.classes.num_classes]
        if wrong:
            raise OptionError(
                f"--coarse_boost_classes {wrong[0]}: the train ids of {fine.dataset} are 0 to"
                f" {fine.classes.num_classes - 1}"
            )
        if fine.split == coarse.split:
            raise OptionError(f"--coarse_boost_classes: --train_split {fine.split} is coarse already; leave one out")
        self.fine, self.coarse, self.boosted = fine, coarse, tuple(boosted)
        self.dataset, self.split, self.classes = fine.dataset, fine.split, fine.classes
        self.names = fine.names + coarse.names
        self.has_labels, self.notes = fine.has_labels, fine.notes

    @property
    def epoch_length(self) -> int:
        return len(self.fine)

    def select_centroids(self, centroids: list[np.ndarray]) -> list[np.ndarray]:
        """Coarse images keep their centroids of boosted classes."""
        return [
            rows if class_id in self.boosted else rows[rows[:, 0] < len(self.fine)]
            for class_id, rows in enumerate(centroids)
        ]

    def load_image(self, index: int) -> np.ndarray:
        part, index = self._locate(index)
        return part.load_image(index)

    def image_size(self, index: int) -> tuple[int, int]:
        part, index = self._locate(index)
        return part.image_size(index)

    def load_label(self, index: int) -> np.ndarray:
        part, index = self._locate(index)
        return part.load_label(index)

    def files(self, index: int) -> tuple[Path, ...]:
        part, index = self._locate(index)
        return part.files(index)

    def image_paths(self) -> Iterable[str]:
        return itertools.chain(self.fine.image_paths(), self.coarse.image_paths())

    def file_stats(self) -> np.ndarray:
        return np.concatenate([self.fine.file_stats(), self.coarse.file_stats()])

    def reading(self) -> tuple:
        return self.fine.reading(), self.coarse.reading()

    def describe(self, index: int) -> str:
        part, index = self._locate(index)
        return part.describe(index)

    def fingerprint(self) -> str:
        """The boosted classes don't count, because they change no sample."""
        return hashlib.sha256(f"{self.fine.fingerprint()} {self.coarse.fingerprint()}".encode()).hexdigest()

    def _locate(self, index: int) -> tuple[Split, int]:
        return (self.fine, index) if index < len(self.fine) else (self.coarse, index - len(self.fine))
