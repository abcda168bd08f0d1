"""Pixels of each class in a split, from its index."""

import numpy as np

from datasets.base import ClassTable
from datasets.index import SplitIndex
from utils.constants import IGNORE_LABEL


def count_class_pixels(index: SplitIndex, classes: ClassTable) -> tuple[np.ndarray, np.ndarray]:
    """Two int64 arrays (C,): pixels of each class, and labelled pixels of the images that hold the class."""
    table = np.full(256, IGNORE_LABEL)
    table[list(classes.id_to_train)] = list(classes.id_to_train.values())
    trained, samples = table[index.ids], np.repeat(np.arange(len(index)), np.diff(index.starts))
    labelled = trained != IGNORE_LABEL
    pixels = np.zeros((len(index), classes.num_classes), np.int64)
    np.add.at(pixels, (samples[labelled], trained[labelled]), index.pixels[labelled])
    return pixels.sum(0), ((pixels > 0) * pixels.sum(1, keepdims=True)).sum(0)
