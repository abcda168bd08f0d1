"""Pixels of each class in the training labels, and `--class_weights` by them."""

import numpy as np

from datasets.base import ClassTable
from datasets.index import SplitIndex
from loss import LossOptions, class_weights
from utils.constants import IGNORE_LABEL
from utils.logging import get_logger


def weigh_classes(options: LossOptions, classes: ClassTable, index: SplitIndex) -> tuple[float, ...] | None:
    """`--class_weights` for the classes and what the training labels hold of them, said in the log."""
    weights = class_weights(options.class_weights, classes.names, *count_class_pixels(index, classes))
    if weights is not None:
        texts = (f"{name} {weight:.4g}" for name, weight in zip(classes.names, weights, strict=True))
        get_logger().info(f"class weights: {', '.join(texts)}")
    return weights


def count_class_pixels(index: SplitIndex, classes: ClassTable) -> tuple[np.ndarray, np.ndarray]:
    """Two int64 arrays (C,): pixels of each class, and labelled pixels of the images that hold the class."""
    table = np.full(256, IGNORE_LABEL)
    table[list(classes.id_to_train)] = list(classes.id_to_train.values())
    trained, samples = table[index.ids], np.repeat(np.arange(len(index)), np.diff(index.starts))
    labelled = trained != IGNORE_LABEL
    pixels = np.zeros((len(index), classes.num_classes), np.int64)
    np.add.at(pixels, (samples[labelled], trained[labelled]), index.pixels[labelled])
    return pixels.sum(0), ((pixels > 0) * pixels.sum(1, keepdims=True)).sum(0)
