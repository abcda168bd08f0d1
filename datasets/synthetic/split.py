"""Street scenes that are drawn, not downloaded: the data set that is always there, in the classes of Cityscapes."""

import hashlib
from collections import OrderedDict
from pathlib import Path

import numpy as np

from datasets.base import Split
from datasets.cityscapes import CLASSES
from datasets.layout import check_single_cv, check_split
from datasets.synthetic.scene import DRAWING_VERSION, draw_scene
from utils.errors import DataError

SPLITS = ("train", "val", "test")
COUNTS = {"train": 160, "val": 40, "test": 40}
CACHE_BYTES = 128 * 2**20  # a process; holds all of the default train split (84 MB)
MIN_SIZE = 16


class SyntheticSplit(Split):
    """Scenes of one split; every split is labelled.

    Drawing a scene takes about as long as decoding a PNG, yet image and label are asked for one after the other, and an
    epoch asks for every scene again; so drawn scenes are kept, the oldest is dropped beyond `CACHE_BYTES`. The cache is
    a plain dictionary of this object: a forked or spawned worker of a `DataLoader` continues with a copy of its own.

    Args:
        split: `train`, `val` or `test`; no two splits share a scene, whatever their seeds.
        seed: Not negative; another seed, other scenes.
        count: Number of scenes; by default 160, 40 and 40.
        height: Pixels, at least 16.
        width: Pixels, at least 16.

    Raises:
        OptionError: Unknown split.
        DataError: A negative seed, no scenes, or scenes too small.
    """

    def __init__(
        self, split: str = "train", seed: int = 0, count: int | None = None, height: int = 256, width: int = 512
    ) -> None:
        check_split("synthetic", split, SPLITS)
        count = COUNTS[split] if count is None else count
        if seed < 0 or count < 1:
            raise DataError(f"data set synthetic: seed {seed} and count {count}; seed is 0 or more, count 1 or more")
        if min(height, width) < MIN_SIZE:
            raise DataError(f"data set synthetic: scenes of {height}x{width}; height and width are {MIN_SIZE} or more")
        self.dataset, self.split, self.classes = "synthetic", split, CLASSES
        self.names = [f"synthetic_{split}_{index:04d}" for index in range(count)]
        self.seed, self.height, self.width = seed, height, width
        self._scenes: OrderedDict[int, tuple[np.ndarray, np.ndarray]] = OrderedDict()

    def load_image(self, index: int) -> np.ndarray:
        """A copy, free to be changed."""
        return self._scene(index)[0].copy()

    def load_label(self, index: int) -> np.ndarray:
        """A copy, free to be changed."""
        return self._scene(index)[1].copy()

    def fingerprint(self) -> str:
        """The seed, the size and the version of the drawing count too."""
        what = f"{super().fingerprint()} {self.seed} {len(self)} {self.height}x{self.width} {DRAWING_VERSION}"
        return hashlib.sha256(what.encode()).hexdigest()

    def _scene(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        index = range(len(self))[index]
        scene = self._scenes.get(index)
        if scene is None:
            scene = draw_scene(stream(self.split, self.seed), index, self.height, self.width)[:2]
            while self._scenes and (len(self._scenes) + 1) * self.height * self.width * 4 > CACHE_BYTES:
                self._scenes.popitem(last=False)
            self._scenes[index] = scene
        return scene


def stream(split: str, seed: int) -> int:
    """The seed of `draw_scene` for a split: different for every pair of split and seed."""
    return len(SPLITS) * seed + SPLITS.index(split)


def build_split(root: Path | None, split: str, cv: int = 0) -> SyntheticSplit:
    """One split in its default size.

    Args:
        root: Not looked at.
        split: `train`, `val` or `test`.
        cv: Only 0.

    Raises:
        OptionError: Unknown split or fold.
    """
    check_split("synthetic", split, SPLITS)
    check_single_cv("synthetic", cv)
    return SyntheticSplit(split)
