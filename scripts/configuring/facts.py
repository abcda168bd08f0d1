"""What a data set is like, as far as a configuration depends on it."""

from dataclasses import dataclass

import cv2
import numpy as np

from datasets.base import Split
from datasets.checks.inspection import choose_samples
from datasets.checks.label_ids import LabelIds, as_table
from datasets.checks.pixels import read_sizes
from datasets.index import SplitIndex
from engine.training.start import Indexes, Splits
from utils.constants import IGNORE_LABEL
from utils.threads import parallel_map

LOOKED_AT = 64  # labels whose regions are measured


@dataclass(frozen=True)
class ClassFacts:
    """One class; a region is what hangs together in a label. Medians are weighted by the regions' pixels.

    Attributes:
        name: Of the class.
        share: Fraction of the pixels of all classes.
        labels: How many labels have it.
        regions: Mean number in a label that has it; 0: in none of those looked at.
        thickness: Median of area over the longer side of the bounding box, pixels.
        span: Median of the longer side of the bounding box, as a fraction of the label's short side.
    """

    name: str
    share: float
    labels: int
    regions: float = 0.0
    thickness: float = 0.0
    span: float = 0.0


@dataclass(frozen=True)
class DataFacts:
    """A data set.

    Attributes:
        train: Samples of a training epoch.
        val: Images that are validated on.
        short: Median of the training images' short sides, pixels.
        long: Median of their long sides.
        spread: Ratio of short sides, the 95th percentile to the 5th.
        classes: By train id.
    """

    train: int
    val: int
    short: int
    long: int
    spread: float
    classes: tuple[ClassFacts, ...]

    @property
    def present(self) -> tuple[ClassFacts, ...]:
        """Classes that the training labels have."""
        return tuple(item for item in self.classes if item.labels)

    @property
    def rarest(self) -> ClassFacts:
        """The one of `present` with the fewest pixels."""
        return min(self.present, key=lambda item: item.share)

    @property
    def thinnest(self) -> ClassFacts | None:
        """Of the classes whose regions were measured, the one with the thinnest; None: there are none."""
        return min((item for item in self.classes if item.regions), key=lambda item: item.thickness, default=None)

    @property
    def smallest(self) -> ClassFacts | None:
        """As `thinnest`, the one that spans least."""
        return min((item for item in self.classes if item.regions), key=lambda item: item.span, default=None)


def take_facts(splits: Splits, indexes: Indexes) -> DataFacts:
    """What the index of the training split says, and the regions of some of its labels, which are read for it.

    Raises:
        DataError: A label can't be read.
    """
    train, index = splits.train, indexes.train
    sizes = np.array([size for size in read_sizes(train, index).tolist() if all(size)])
    if not len(sizes):  # samples that are no files have no headers
        sizes = np.array([train.image_size(sample) for sample in choose_samples(train, LOOKED_AT, 0)])
    shorts, longs = sizes.min(1), sizes.max(1)
    return DataFacts(
        train=train.epoch_length,
        val=len(splits.val),
        short=int(np.median(shorts)),
        long=int(np.median(longs)),
        spread=float(np.divide(*np.percentile(shorts, (95, 5)))),
        classes=_classes(train, index),
    )


def _classes(split: Split, index: SplitIndex) -> tuple[ClassFacts, ...]:
    rows = as_table(LabelIds(split, index))
    chosen = choose_samples(split, LOOKED_AT, 0)
    seen: list[list[np.ndarray]] = [[] for _ in rows]
    for label in parallel_map(split.load_label, chosen):
        for class_id, found in regions(label).items():
            seen[class_id].append(found)
    return tuple(
        ClassFacts(row["name"], row["pixels"], row["labels"], *_summary(found))
        for row, found in zip(rows, seen, strict=True)
    )


def regions(label: np.ndarray) -> dict[int, np.ndarray]:
    """The regions of each class in a label.

    Args:
        label: Train ids (H,W) uint8, 255 where ignored.

    Returns:
        By train id: float64 (K,3), area and thickness in pixels, span as a fraction of the short side.
    """
    found = {}
    for class_id in np.unique(label[label != IGNORE_LABEL]).tolist():
        stats = cv2.connectedComponentsWithStats((label == class_id).view(np.uint8), connectivity=8)[2][1:]
        sides = stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(1)
        areas = stats[:, cv2.CC_STAT_AREA]
        found[class_id] = np.stack([areas, areas / sides, sides / min(label.shape)], axis=1).astype(float)
    return found


def _summary(labels: list[np.ndarray]) -> tuple[float, float, float]:
    """Regions of a class in each label that has it -> `regions`, `thickness`, `span`."""
    if not labels:
        return 0.0, 0.0, 0.0
    rows = np.concatenate(labels)
    areas = rows[:, 0]
    return len(rows) / len(labels), *(weighted_median(rows[:, column], areas) for column in (1, 2))


def weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """The smallest value at which half of the weights is reached."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(reached, reached[-1] / 2)])
