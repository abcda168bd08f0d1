"""The images that an exported model is calibrated on, and compared with the original on."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

import datasets
from datasets.base import ClassTable, FileItem, FileSplit, Split
from datasets.part import SubsetSplit
from datasets.reading import IMAGE_SUFFIXES
from engine.checkpoint.loading import check_classes
from engine.export.options import ExportOptions
from utils.errors import DataError

Pair = tuple[np.ndarray, np.ndarray | None]  # RGB (H,W,3) uint8, and train ids (H,W) uint8 or None


def calibration_images(options: ExportOptions, classes: dict) -> Split:
    """Evenly spaced images of the `--calibration` folder, as the demo reads them. Raises `DataError` without any."""
    folder = Path(options.calibration)
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise DataError(f"{folder}: no such folder, or no images in it; check --calibration")
    items = [FileItem(path.name, path, None) for path in paths]
    return evenly(FileSplit("calibration", "images", ClassTable.from_dict(classes), items), options.num_images)


def compared_images(options: ExportOptions, classes: dict) -> Split:
    """Evenly spaced samples of the split below `--data_root`, or else images of the `--calibration` folder.

    Raises:
        CheckpointError: The data set has other classes than `classes`, the snapshot's.
        DataError: Nothing is there.
    """
    if not options.data_root:
        return calibration_images(options, classes)
    split = datasets.build_split(options.dataset or classes["dataset"], options.data_root, options.split)
    check_classes({"classes": classes}, split.classes.names, options.snapshot)
    return evenly(split, options.num_images)


def evenly(split: Split, count: int) -> Split:
    """At most `count` samples of a split, evenly spaced."""
    return SubsetSplit(split, np.linspace(0, len(split) - 1, min(count, len(split))).round().astype(int).tolist())


def pairs(split: Split, size: Sequence[int] | None) -> Iterator[Pair]:
    """Images and labels one after the other, scaled to (H,W) where `size` says one."""
    for index in range(len(split)):
        image, label = split.load_image(index), split.load_label(index) if split.has_labels else None
        if size is not None and image.shape[:2] != tuple(size):
            image = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
            label = None if label is None else cv2.resize(label, size[::-1], interpolation=cv2.INTER_NEAREST)
        yield image, label
