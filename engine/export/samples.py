"""The images that an exported model is calibrated on, and compared with the original on."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

import datasets
from datasets.base import ClassTable, FileItem, FileSplit, Split
from datasets.part import SubsetSplit
from datasets.reading import IMAGE_SUFFIXES
from engine.checkpoint.loading import check_classes
from engine.export.formats import SIDES
from engine.export.options import ExportOptions
from utils.errors import DataError

LEAST_ODD = 67  # least side of the odd size
Pair = tuple[np.ndarray, np.ndarray | None]  # RGB (H,W,3) uint8, and train ids (H,W) uint8 or None


def calibration_images(options: ExportOptions, classes: dict) -> Split:
    """Evenly spaced images below the `--calibration` folder, as the demo reads them, or else of the training split.

    Raises:
        DataError: There are none.
    """
    if not options.calibration:
        train = datasets.build_split(options.dataset or classes["dataset"], options.data_root, "train")
        return evenly(train, options.num_images)
    folder = Path(options.calibration)
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise DataError(f"{folder}: no such folder, or no images in it or below it; check --calibration")
    items = [FileItem(str(path.relative_to(folder)), path, None) for path in paths]
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


def check_sides(split: Split) -> None:
    """Raises `DataError` for an image that a file of open size doesn't take."""
    for index, name in enumerate(split.names):
        height, width = split.image_size(index)
        if not SIDES[0] <= min(height, width) <= max(height, width) <= SIDES[1]:
            raise DataError(
                f"{name}: {width}x{height} pixels, and a file of open size takes sides of {SIDES[0]} to {SIDES[1]};"
                " leave it out, or give --size"
            )


def batches(split: Split, size: Sequence[int] | None) -> list[np.ndarray]:
    """RGB images (N,H,W,3) uint8 to compare all outputs on: the first one and, where the size is open, three at an odd
    size, which is no multiple of any stride, and one of the least size."""
    images = [image for image, _ in islice(pairs(split, size), 3)]
    if size is not None:
        return [images[0][None]]
    odd = tuple(max(side // 4 * 2 + 1, LEAST_ODD) for side in images[0].shape[:2])
    three = [_scale(image, odd, cv2.INTER_AREA) for image in (images * 3)[:3]]
    return [images[0][None], np.stack(three), _scale(images[0], (SIDES[0], SIDES[0]), cv2.INTER_AREA)[None]]


def _scale(image: np.ndarray, size: Sequence[int], how: int) -> np.ndarray:
    return cv2.resize(image, (size[1], size[0]), interpolation=how)


def pairs(split: Split, size: Sequence[int] | None) -> Iterator[Pair]:
    """Images and labels one after the other, scaled to (H,W) where `size` says one."""
    for index in range(len(split)):
        image, label = split.load_image(index), split.load_label(index) if split.has_labels else None
        if size is not None and image.shape[:2] != tuple(size):
            image = _scale(image, size, cv2.INTER_AREA)
            label = None if label is None else _scale(label, size, cv2.INTER_NEAREST)
        yield image, label
