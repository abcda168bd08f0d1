"""CamVid in the 11 classes and the layout of the SegNet tutorial: `train/`, `trainannot/` and so on.

Source: Brostow et al., Segmentation and Recognition Using Structure from Motion Point Clouds, ECCV 2008.
"""

from pathlib import Path

from datasets.base import ClassTable, FileSplit
from datasets.file_table import FileTable
from datasets.layout import OnUnpaired, check_cv, check_split, check_unique, folder_items, raise_error
from utils.constants import IGNORE_LABEL
from utils.errors import DataError

SPLITS = ("train", "val", "trainval", "test")
PUBLISHED_COUNTS = {"train": 367, "val": 101, "test": 233}
EXPECTED = "train/, trainannot/, val/, valannot/, test/, testannot/ with images and PNG labels of the same names"
UNLABELLED = 11
UNSEEN_DRIVES = ("0016E5", "0001TP")  # that `--cv` 1 and 2 validate on; nothing of them is trained on

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

    The official `val` is a drive of which two thirds are in `train`. So that a choice isn't made by a drive that the
    model knows, `cv` 1 and 2 divide `trainval` by drives (frames are named DRIVE_NUMBER).

    Args:
        root: Folder with `train`, `trainannot` and so on.
        split: `train`, `val`, `trainval` or `test`.
        cv: 0, the official split; 1 and 2: `val` is all of `trainval` that is of drive 0016E5 or 0001TP, `train` the
            rest. `trainval` and `test` stay.
        on_unpaired: Called with a fault of pairing; by default it is raised.

    Raises:
        OptionError: Unknown split or fold.
        DataError: A folder is missing, an image or a label has no partner, names are not unique, or the drive of this
            fold has no frames or all of them.
    """
    root = Path(root)
    check_split("camvid", split, SPLITS)
    check_cv("camvid", cv, 1 + len(UNSEEN_DRIVES))
    divided = cv > 0 and split in ("train", "val")
    parts = ("train", "val") if divided or split == "trainval" else (split,)
    items = FileTable()
    for part in parts:
        items += folder_items(root, root / part, root / f"{part}annot", EXPECTED, on_unpaired)
    items = check_unique(items)
    if divided:
        items = _divide(items, split, UNSEEN_DRIVES[cv - 1], root, cv)
    return FileSplit("camvid", split, CLASSES, items)


def _divide(items: FileTable, split: str, drive: str, root: Path, cv: int) -> FileTable:
    unseen = [name.partition("_")[0] == drive for name in items.names]
    if len(set(unseen)) < 2:
        raise DataError(
            f"{root}: {sum(unseen)} of {len(items)} images of train/ and val/ are of drive {drive} ({drive}_NUMBER), by"
            f" which --cv {cv} divides; name them as the SegNet tutorial does, or use --cv 0"
        )
    return items.take([row for row, found in enumerate(unseen) if found == (split == "val")])
