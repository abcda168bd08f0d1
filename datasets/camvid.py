"""CamVid in the 11 classes and the layout of the SegNet tutorial: `train/`, `trainannot/` and so on.

Source: Brostow et al., Segmentation and Recognition Using Structure from Motion Point Clouds, ECCV 2008.
"""

from pathlib import Path

from datasets.base import ClassTable, FileSplit
from datasets.file_table import FileTable
from datasets.layout import OnUnpaired, check_single_cv, check_split, check_unique, folder_items, raise_error
from utils.constants import IGNORE_LABEL

SPLITS = ("train", "val", "trainval", "test")
PUBLISHED_COUNTS = {"train": 367, "val": 101, "test": 233}
EXPECTED = "train/, trainannot/, val/, valannot/, test/, testannot/ with images and PNG labels of the same names"
UNLABELLED = 11

# the train id and the label id are the row
_ROWS = (
    ("Sky", (128, 128, 128)),
    ("Building", (128, 0, 0)),
    ("Pole", (192, 192, 128)),
    ("Road", (128, 64, 128)),
    ("Pavement", (60, 40, 222)),
    ("Tree", (128, 128, 0)),
    ("SignSymbol", (192, 128, 128)),
    ("Fence", (64, 64, 128)),
    ("Car", (64, 0, 128)),
    ("Pedestrian", (64, 64, 0)),
    ("Bicyclist", (0, 128, 192)),
)

CLASSES = ClassTable(
    names=tuple(name for name, _ in _ROWS),
    palette=tuple(color for _, color in _ROWS),
    label_ids=tuple(range(len(_ROWS))),
    id_to_train={i: i for i in range(len(_ROWS))} | {UNLABELLED: IGNORE_LABEL},
)


def build_split(root: Path, split: str, cv: int = 0, on_unpaired: OnUnpaired = raise_error) -> FileSplit:
    """One split, paired by name without suffix; all splits are labelled. List files are not read.

    Args:
        root: Folder with `train`, `trainannot` and so on.
        split: `train`, `val`, `trainval` or `test`.
        cv: Only 0, the official split.
        on_unpaired: Called with a fault of pairing; by default it is raised.

    Raises:
        OptionError: Unknown split or fold.
        DataError: A folder is missing, an image or a label has no partner, or names are not unique.
    """
    root = Path(root)
    check_split("camvid", split, SPLITS)
    check_single_cv("camvid", cv)
    parts = ("train", "val") if split == "trainval" else (split,)
    items = FileTable()
    for part in parts:
        items += folder_items(root, root / part, root / f"{part}annot", EXPECTED, on_unpaired)
    return FileSplit("camvid", split, CLASSES, check_unique(items))
