"""What a validation scores on a GPU that isn't there."""

import numpy as np

from datasets.base import ClassTable, Split
from tests.fakecuda.matrix import CLASSES

TABLE = ClassTable.from_dict(
    {
        "dataset": "folder",
        "names": [str(i) for i in range(CLASSES)],
        "palette": [[0, 0, i] for i in range(CLASSES)],
        "label_ids": list(range(CLASSES)),
        "id_to_train": {},
    }
)


class Scene(Split):
    """A split of one black image of class 0."""

    dataset, split, classes, names = "folder", "val", TABLE, ["image"]

    def load_image(self, index: int) -> np.ndarray:
        """(H,W,3) uint8."""
        return np.zeros((128, 256, 3), np.uint8)

    def load_label(self, index: int) -> np.ndarray:
        """(H,W) uint8."""
        return np.zeros((128, 256), np.uint8)
