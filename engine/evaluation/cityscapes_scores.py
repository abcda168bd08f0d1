"""Cityscapes' own scores besides the IoU of classes: of categories, and weighted by instance (iIoU).

Source: Cordts et al., The Cityscapes Dataset for Semantic Urban Scene Understanding, CVPR 2016, section 4.1; tables and
counting as in cityscapesScripts' evalPixelLevelSemanticLabeling, whose names the scores have.
"""

import math
from collections.abc import Sequence

import numpy as np

from datasets.cityscapes import CLASSES
from datasets.instances import PER_LABEL

CATEGORIES = {
    "flat": ("road", "sidewalk"),
    "construction": ("building", "wall", "fence"),
    "object": ("pole", "traffic light", "traffic sign"),
    "nature": ("vegetation", "terrain"),
    "sky": ("sky",),
    "human": ("person", "rider"),
    "vehicle": ("car", "truck", "bus", "train", "motorcycle", "bicycle"),
}
# mean size of an instance in pixels
AVERAGE_SIZES = {
    "person": 3462.4756337644,
    "rider": 3930.4788056518,
    "car": 12794.0202738185,
    "truck": 27855.1264367816,
    "bus": 35732.1511111111,
    "train": 67583.7075812274,
    "motorcycle": 6298.7200839748,
    "bicycle": 4672.3249222261,
}
NO_ROW = 255

_ROWS = {CLASSES.names.index(name): row for row, name in enumerate(AVERAGE_SIZES)}  # train id -> row
_CATEGORY = np.full(256, NO_ROW, np.uint8)  # by train id
for _number, _names in enumerate(CATEGORIES.values()):
    _CATEGORY[[CLASSES.names.index(name) for name in _names]] = _number
_TRAIN_ID = np.full(256, NO_ROW, np.uint8)  # by label id
_TRAIN_ID[list(CLASSES.id_to_train)] = list(CLASSES.id_to_train.values())


def instance_sums(prediction: np.ndarray, instances: np.ndarray) -> np.ndarray:
    """What an image adds to the iIoU, (8,4) float64: a row for each class of `AVERAGE_SIZES`.

    The columns are pixels of its instances that are predicted as the class, as another one, as a class of the category,
    and as one of another category, each weighted by the class's average size over the instance's.

    Args:
        prediction: Train ids (H,W) uint8.
        instances: Instance ids (H,W) int32; other pixels hold less than 1000.
    """
    there = instances > PER_LABEL  # the official tool takes 1000 itself for no instance
    ids, predicted = instances[there], prediction[there]
    own = _TRAIN_ID[ids // PER_LABEL]
    sizes = np.bincount(ids)
    hits = [
        np.bincount(ids[right], minlength=len(sizes))
        for right in (predicted == own, _CATEGORY[predicted] == _CATEGORY[own])
    ]
    sums = np.zeros((len(AVERAGE_SIZES), 4))
    averages = list(AVERAGE_SIZES.values())
    for instance in np.flatnonzero(sizes).tolist():
        row = _ROWS.get(int(_TRAIN_ID[instance // PER_LABEL]))
        if row is not None:
            size, (right, akin) = int(sizes[instance]), (int(count[instance]) for count in hits)
            sums[row] += np.array([right, size - right, akin, size - akin]) * (averages[row] / size)
    return sums


def cityscapes_scores(confusion: np.ndarray, sums: np.ndarray | None = None) -> dict:
    """Scores as fractions, None where there is nothing to divide by, under the official tool's names.

    Args:
        confusion: Of the 19 classes, (19,19) integers, rows = truth; a further column are predictions of no class.
        sums: What `instance_sums` gave, summed over the images; None: no scores of instances.

    Returns:
        `category_scores` (name -> IoU) and `average_score_categories`; with `sums` also `class_inst_scores`,
        `category_inst_scores` and their averages.
    """
    members = {name: [CLASSES.names.index(one) for one in names] for name, names in CATEGORIES.items()}
    wrong = {name: _predicted_wrongly(confusion, ids) for name, ids in members.items()}
    scores = {}
    for name, ids in members.items():
        truth = int(confusion[ids].sum())
        right = int(confusion[np.ix_(ids, ids)].sum())
        scores[name] = _ratio(right, truth + wrong[name])
    result = {"category_scores": scores, "average_score_categories": _mean(scores.values())}
    if sums is None:
        return result
    rows = {CLASSES.names[train_id]: row for train_id, row in _ROWS.items()}
    classes = {}
    for name, row in rows.items():
        right, missed = sums[row, :2].tolist()
        classes[name] = _ratio(right, right + missed + _predicted_wrongly(confusion, [CLASSES.names.index(name)]))
    categories = {}
    for name in [name for name, names in CATEGORIES.items() if set(names) <= set(rows)]:
        right, missed = sums[[rows[one] for one in CATEGORIES[name]], 2:].sum(0).tolist()
        categories[name] = _ratio(right, right + missed + wrong[name])
    result |= {"class_inst_scores": classes, "average_score_inst_classes": _mean(classes.values())}
    return result | {"category_inst_scores": categories, "average_score_inst_categories": _mean(categories.values())}


def _predicted_wrongly(confusion: np.ndarray, ids: Sequence[int]) -> int:
    """Pixels predicted as one of the classes `ids` that are of none of them."""
    return int(confusion[:, ids].sum() - confusion[np.ix_(ids, ids)].sum())


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _mean(values) -> float | None:
    present = [value for value in values if value is not None]
    return math.fsum(present) / len(present) if present else None
