"""BDD100K, Cityscapes, IDD and Mapillary Vistas as one data set, in the 19 classes of Cityscapes.

Source: Li et al., SFNet: Faster and Accurate Semantic Segmentation via Semantic Flow, IJCV 2023, which merges these
four. The authors' relabelled files are not used: which classes are one follows from their names and, for Mapillary,
from the class definitions on cityscapes-dataset.com.
"""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from datasets import bdd100k, cityscapes, idd, mapillary
from datasets.base import FileSplit
from datasets.cityscapes import CLASSES
from datasets.file_table import FileTable
from datasets.layout import OnUnpaired, check_folder, check_single_cv, check_split, raise_error
from utils.errors import DataError

SOURCES = {"bdd100k": bdd100k, "cityscapes": cityscapes, "idd": idd, "mapillary": mapillary}
SPLITS = ("train", "val", "trainval", "test")
PUBLISHED_COUNTS = {"train": 34968, "val": 4481}  # sums of the four
EXPECTED = f"the folders {', '.join(SOURCES)}, each laid out as the data set of that name"
UNLABELLED = 0  # a label id of Cityscapes

# Classes of Mapillary Vistas 1.2 by class of Cityscapes; the other three data sets spell their shared classes alike
MAPILLARY = {
    "road": ("Road", "Lane Marking - General", "Lane Marking - Crosswalk", "Crosswalk - Plain", "Bike Lane",
             "Service Lane", "Manhole"),
    "sidewalk": ("Sidewalk", "Curb", "Curb Cut", "Pedestrian Area"),
    "building": ("Building",),
    "wall": ("Wall",),
    "fence": ("Fence",),
    "pole": ("Pole", "Utility Pole"),
    "traffic light": ("Traffic Light",),
    "traffic sign": ("Traffic Sign (Front)",),
    "vegetation": ("Vegetation",),
    "terrain": ("Terrain", "Sand"),
    "sky": ("Sky",),
    "person": ("Person",),
    "rider": ("Bicyclist", "Motorcyclist", "Other Rider"),
    "car": ("Car",),
    "truck": ("Truck",),
    "bus": ("Bus",),
    "train": ("On Rails",),
    "motorcycle": ("Motorcycle",),
    "bicycle": ("Bicycle",),
}  # fmt: skip


class MergedSplit(FileSplit):
    """Samples of several data sets, named `<data set>/<name there>`; label files keep their own ids.

    Args:
        split: Name of the split.
        root: Holds the folder of each data set.
        parts: Its split of each data set.
    """

    def __init__(self, split: str, root: Path, parts: Mapping[str, FileSplit]) -> None:
        names = [f"{name}/{sample}" for name, part in parts.items() for sample in part.names]
        files = ([path for part in parts.values() for path in part.items.paths(kind)] for kind in range(2))
        super().__init__("merged_dataset", split, CLASSES, FileTable(names, *files))
        self._root, self._classes = root, {name: part.classes for name, part in parts.items()}
        self._tables = {name: _table(root / name, name, part.classes.names) for name, part in parts.items()}
        self.label_code = f"ids {[table.tolist() for table in self._tables.values()]}"

    def read_label_ids(self, path: Path) -> np.ndarray:
        """Label ids of Cityscapes (H,W) uint8; ids that the file's own data set doesn't know are a `DataError`."""
        source = path.relative_to(self._root).parts[0]
        return cv2.LUT(self._classes[source].to_train_ids(super().read_label_ids(path), path), self._tables[source])


def _table(folder: Path, source: str, names: tuple[str, ...]) -> np.ndarray:
    """A data set's train ids -> label ids of Cityscapes, (256,) uint8; unlabelled where that scores no such class.

    Raises:
        DataError: Mapillary's configuration names no class that is one of Cityscapes'.
    """
    own = MAPILLARY if source == "mapillary" else {name: (name,) for name in CLASSES.names}
    table = np.full(256, UNLABELLED, np.uint8)
    for name, label_id in zip(CLASSES.names, CLASSES.label_ids, strict=True):
        same = [train_id for train_id, other in enumerate(names) if other in own[name]]
        if not same and source == "mapillary":
            raise DataError(
                f"{folder}: its configuration names no class {' or '.join(own[name])}, which is {name}; take the"
                " archive of version 1.2 or 2.0"
            )
        table[same] = label_id
    return table


def build_split(root: Path, split: str, cv: int = 0, on_unpaired: OnUnpaired = raise_error) -> MergedSplit:
    """One split: that of all four, one after the other.

    Args:
        root: Folder with `bdd100k`, `cityscapes`, `idd` and `mapillary`, or with links to them.
        split: `train`, `val`, `trainval` or `test` (without labels).
        cv: Only 0, the official splits.
        on_unpaired: Called with a fault of pairing; by default it is raised.

    Raises:
        OptionError: Unknown split or fold.
        DataError: One of the four is missing, or not complete.
    """
    root = Path(root)
    check_split("merged_dataset", split, SPLITS)
    check_single_cv("merged_dataset", cv)
    for name in SOURCES:
        check_folder(root, root / name, EXPECTED)
    parts = {name: source.build_split(root / name, split, 0, on_unpaired) for name, source in SOURCES.items()}
    return MergedSplit(split, root, parts)
