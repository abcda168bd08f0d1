"""One walk over the images: every variant predicts each of them, and is counted near boundaries and in the interior."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from engine.inference.batch import BatchPredictor
from engine.inference.score_maps import predict_labels
from scripts.microscopes.variants import RememberingEncoder, Variant, switched
from utils.constants import IGNORE_LABEL
from utils.logging import Progress
from utils.metrics.confusion import confusion_matrix
from utils.metrics.trimap import trimap_bands

PLACES = ("boundary", "interior")
OUTCOMES = ("lost", "gained", "other")  # right as trained only, right switched only, wrong in both but differently


@dataclass(frozen=True)
class Counts:
    """A variant's counts on N images.

    Attributes:
        iou: (N,2,C,2) int64: at each of `PLACES`, pixels of each class in both truth and prediction, and in either.
        changes: (N,2,4) int64: at each of `PLACES`, labelled pixels, and those of each of `OUTCOMES`.
    """

    iou: np.ndarray
    changes: np.ndarray


@dataclass(frozen=True)
class SwitchedPredictor:
    """Predicts batches with each variant in turn; one set of weights is in memory.

    Attributes:
        predict: Batches -> scores.
        model: What `predict` runs.
        variants: The first is as trained.
    """

    predict: BatchPredictor
    model: nn.Module
    variants: Sequence[Variant]

    def __call__(self, batch: dict) -> list[np.ndarray]:
        """Train ids (N,H,W) uint8 of the batch's `image`, by each variant."""
        labels = []
        with switched(self.model, {"encoder": RememberingEncoder(self.model.encoder)}):
            for variant in self.variants:
                with switched(self.model, variant.parts):
                    labels.append(predict_labels(self.predict(batch)).cpu().numpy())
        return labels


def count(predict: SwitchedPredictor, loader: Iterable[dict], num_classes: int, band: int) -> dict[str, Counts]:
    """Counts of each variant by name, over the images of `loader`, in its order.

    Args:
        predict: The variants.
        loader: Batches with `image`, `label` (N,H,W) and `name`.
        num_classes: C.
        band: Pixels on each side of a true boundary that are near it.
    """
    found: dict[str, list] = {variant.name: [] for variant in predict.variants}
    for batch in Progress(loader, "microscope", True):
        labels = batch["label"].numpy().astype(np.uint8)
        masks = [split_places(label, band) for label in labels]
        predicted = predict(batch)
        for name, predictions in zip(found, predicted, strict=True):
            for label, places, before, after in zip(labels, masks, predicted[0], predictions, strict=True):
                found[name].append(_count_image(label, places, before, after, num_classes))
    return {name: Counts(*map(np.stack, zip(*rows, strict=True))) for name, rows in found.items()}


def split_places(label: np.ndarray, band: int) -> tuple[np.ndarray, np.ndarray]:
    """Where (H,W) bool the labelled pixels are within `band` pixels of another true class, and the other labelled ones.

    `label`: train ids (H,W) uint8. A pixel is near where the square of 2 x band + 1 pixels around it holds another
    class; ignored pixels are in neither.
    """
    (near,) = trimap_bands(label, [band], IGNORE_LABEL)
    labelled = label != IGNORE_LABEL
    return near & labelled, ~near & labelled


def outcomes(label: np.ndarray, before: np.ndarray, after: np.ndarray) -> list[np.ndarray]:
    """Masks of `OUTCOMES`: where the labels `before` and `after` a switch differ. All (H,W), train ids."""
    changed = (before != after) & (label != IGNORE_LABEL)
    lost, gained = changed & (before == label), changed & (after == label)
    return [lost, gained, changed & ~lost & ~gained]


def _count_image(
    label: np.ndarray, places: Sequence[np.ndarray], before: np.ndarray, after: np.ndarray, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """`iou` (2,C,2) and `changes` (2,4) of one image."""
    iou, changes, masks = [], [], outcomes(label, before, after)
    for place in places:
        matrix = confusion_matrix(after[place], label[place], num_classes, IGNORE_LABEL)
        common = matrix.diagonal()
        iou.append(np.stack([common, matrix.sum(0) + matrix.sum(1) - common], axis=1))
        changes.append([np.count_nonzero(mask) for mask in (place, *(place & mask for mask in masks))])
    return np.stack(iou), np.array(changes, np.int64)
