"""What a data set is: a table of classes, and splits that load images and labels by index."""

import hashlib
import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from datasets.file_table import FileItem, FileTable
from datasets.pixel_rules import PixelRules
from datasets.reading import read_label
from utils.constants import IGNORE_LABEL
from utils.errors import DataError

IDS = "ids"  # a label code: files hold ids


@dataclass(frozen=True)
class ClassTable:
    """The classes of a data set and the ids its label files hold.

    Args:
        names: Class names by train id, spelt as the data set's authors spell them.
        palette: RGB colour, 0 to 255, by train id.
        label_ids: The original label id that is written for each train id.
        id_to_train: Every id that a label file may hold -> train id, or `IGNORE_LABEL`.
    """

    names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    label_ids: tuple[int, ...]
    id_to_train: Mapping[int, int]

    @property
    def num_classes(self) -> int:
        """Number of classes that are scored."""
        return len(self.names)

    @cached_property
    def _train_table(self) -> np.ndarray:
        table = np.full(256, IGNORE_LABEL, np.uint8)
        for label_id, train_id in self.id_to_train.items():
            table[label_id] = train_id
        return table

    @cached_property
    def _id_table(self) -> np.ndarray:
        void = (label_id for label_id, train_id in self.id_to_train.items() if train_id == IGNORE_LABEL)
        free = (label_id for label_id in range(255, -1, -1) if label_id not in self.id_to_train)
        table = np.full(256, next(itertools.chain(void, free), IGNORE_LABEL), np.uint8)
        table[: self.num_classes] = self.label_ids
        return table

    @cached_property
    def _color_table(self) -> np.ndarray:
        table = np.zeros((256, 3), np.uint8)
        table[: self.num_classes] = self.palette
        return table

    def to_train_ids(self, label_ids: np.ndarray, path: str | Path) -> np.ndarray:
        """Original ids (H,W) uint8 -> train ids (H,W) uint8, 255 where ignored.

        Raises:
            DataError: `label_ids` holds an id that the table does not know; the message names `path`, id and count.
        """
        counts = cv2.calcHist([label_ids], [0], None, [256], [0, 256]).ravel().astype(int)
        unknown = [i for i in np.flatnonzero(counts).tolist() if i not in self.id_to_train]
        if unknown:
            worst = unknown[0]
            known = ", ".join(str(label_id) for label_id in sorted(self.id_to_train))
            raise DataError(
                f"{path}: label id {worst} ({counts[worst]} pixels) is not one of this data set's ids ({known});"
                " mend the label or the class table"
            )
        return cv2.LUT(label_ids, self._train_table)

    def to_label_ids(self, train_ids: np.ndarray) -> np.ndarray:
        """Train ids (H,W) -> original label ids (H,W) uint8; of what is no class, an ignored id if there is one."""
        return self._id_table[train_ids]

    def colorize(self, train_ids: np.ndarray) -> np.ndarray:
        """Train ids (H,W) uint8 -> RGB picture (H,W,3) uint8; ignored pixels are black."""
        return self._color_table[train_ids]

    def to_dict(self, dataset: str) -> dict:
        """Plain data for a snapshot, from which `from_dict` rebuilds the table without the data set."""
        palette = [list(color) for color in self.palette]
        ids = {str(label_id): train_id for label_id, train_id in self.id_to_train.items()}
        return {
            "dataset": dataset,
            "names": list(self.names),
            "palette": palette,
            "label_ids": list(self.label_ids),
            "id_to_train": ids,
        }

    @classmethod
    def from_dict(cls, data: Mapping) -> "ClassTable":
        """The table that `to_dict` gave."""
        return cls(
            names=tuple(data["names"]),
            palette=tuple(tuple(color) for color in data["palette"]),
            label_ids=tuple(data["label_ids"]),
            id_to_train={int(label_id): train_id for label_id, train_id in data["id_to_train"].items()},
        )


class Split:
    """One split of a data set: named samples that load as arrays.

    Subclasses set the attributes and implement both loaders.

    Attributes:
        dataset: Registry name of the data set.
        split: Name of the split, such as `val`.
        classes: Its `ClassTable`.
        names: Unique sample names, without extension; a name may hold `/` for a subfolder.
        has_labels: False for a test split whose labels are not published.
        submission_size: (height, width) that a benchmark server asks for; None: each image's own.
        submission_count: Images that it asks for; None: those that are there.
        notes: How the split came about, where that isn't plain, a sentence each; trainer and doctor say them.
        label_code: How label files are read; where it differs, the same file gives other ids.
    """

    dataset: str
    split: str
    classes: ClassTable
    names: list[str]
    has_labels: bool = True
    submission_size: tuple[int, int] | None = None
    submission_count: int | None = None
    notes: tuple[str, ...] = ()
    label_code: str = IDS

    def __len__(self) -> int:
        return len(self.names)

    @property
    def epoch_length(self) -> int:
        """Number of draws of a training epoch, and of the samples, from the first, that plain draws are from."""
        return len(self)

    def select_centroids(self, centroids: list[np.ndarray]) -> list[np.ndarray]:
        """Of all class centroids (by train id, rows of image, x, y) those that class-uniform sampling may draw."""
        return centroids

    def load_image(self, index: int) -> np.ndarray:
        """RGB image (H,W,3) uint8. Raises `DataError` if it can't be read."""
        raise DataError(f"data set {self.dataset} has no image loader")

    def image_size(self, index: int) -> tuple[int, int]:
        """(height, width) of what `load_image` gives. Raises `DataError` if it can't be read."""
        return self.load_image(index).shape[:2]

    def load_label(self, index: int) -> np.ndarray:
        """Train ids (H,W) uint8, 255 where ignored. Raises `DataError` if the label is missing or wrong."""
        raise DataError(f"data set {self.dataset} has no label loader")

    def submission_name(self, index: int) -> str:
        """Name of the sample's file in a submission to a benchmark server."""
        return f"{self.names[index].replace('/', '_')}.png"

    def files(self, index: int) -> tuple[Path, ...]:
        """The image's file and, if there is one, the label's; none where samples are not files."""
        return ()

    def image_paths(self) -> Iterable[str]:
        """The image files of all samples; none where samples are not files."""
        return ()

    def file_stats(self) -> np.ndarray:
        """(bytes, time of change in ns, inode) of each sample's image and label: int64 (N,2,3), 0 where no file is.

        As they were when this was asked for the first time.
        """
        return np.zeros((len(self), 2, 3), np.int64)

    def reading(self) -> tuple:
        """What, besides its own file, decides how an image is read: plain data, empty where nothing does."""
        return ()

    def describe(self, index: int) -> str:
        """The sample in words, for messages."""
        return f"sample {self.names[index]} of {self.dataset} {self.split}"

    def fingerprint(self) -> str:
        """SHA-256 (hex) over what identifies the samples; equal on every rank that sees the same data."""
        ids = str(sorted(self.classes.id_to_train.items()))
        code = [] if self.label_code == IDS else [self.label_code]
        text = "\n".join([self.dataset, self.split, *self.names, *self.classes.names, ids, *code])
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


class FileSplit(Split):
    """A split whose images and 8-bit single-channel label maps are files.

    Args:
        dataset: Registry name.
        split: Name of the split.
        classes: The data set's classes.
        items: The samples, in a fixed order.

    Attributes:
        rules: How turned photos and those of more than 8 bits are read.
        rules_from: Makes the split whose images decide that, such as `train`, so that all splits are read alike.
    """

    rules_from: "Callable[[], FileSplit] | None" = None

    def __init__(self, dataset: str, split: str, classes: ClassTable, items: Iterable[FileItem]) -> None:
        self.dataset, self.split, self.classes, self.items = dataset, split, classes, FileTable.of(items)
        self.names, self.has_labels = self.items.names, self.items.has_labels
        self.rules = PixelRules(self)

    def load_image(self, index: int) -> np.ndarray:
        return self.rules.read(index)

    def image_size(self, index: int) -> tuple[int, int]:
        """From the headers alone."""
        return self.rules.size(index)

    def submission_name(self, index: int) -> str:
        """Servers ask for the image's own name."""
        item = self.items[index]
        return "_".join([*Path(item.name).parts[:-1], f"{item.image.stem}.png"])

    def load_label(self, index: int) -> np.ndarray:
        return self.classes.to_train_ids(self.load_label_ids(index), self.items[index].label)

    def load_label_ids(self, index: int) -> np.ndarray:
        """Original label ids (H,W) uint8. Raises `DataError` where the file can't be read."""
        path = self.items[index].label
        if path is None:
            raise DataError(f"{self.items[index].image}: split {self.split} of {self.dataset} has no labels")
        return self.read_label_ids(path)

    def read_label_ids(self, path: Path) -> np.ndarray:
        """What a label file holds, as original ids (H,W) uint8. Raises `DataError` where it can't be read."""
        return read_label(path)

    def files(self, index: int) -> tuple[Path, ...]:
        item = self.items[index]
        return (item.image,) if item.label is None else (item.image, item.label)

    def image_paths(self) -> Iterable[str]:
        return self.items.paths(0)

    def file_stats(self) -> np.ndarray:
        return self.items.stats()

    def reading(self) -> tuple:
        """Of the whole split, or of the one that decides: a part of it, or a change elsewhere, may change pixels."""
        return self.rules.found

    def describe(self, index: int) -> str:
        """Names the files."""
        item = self.items[index]
        return f"{super().describe(index)} ({item.image}, {item.label or 'no label'})"

    def fingerprint(self) -> str:
        """File sizes count too."""
        digest = hashlib.sha256(super().fingerprint().encode("utf-8", "surrogateescape"))
        digest.update("".join(map(str, self.file_stats()[:, :, 0].ravel().tolist())).encode())
        return digest.hexdigest()
