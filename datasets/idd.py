"""India Driving Dataset, segmentation, parts I and II: 26 classes, the level 3 of its hierarchy of labels.

Source: Varma et al., IDD: A Dataset for Exploring Problems of Autonomous Navigation in Unconstrained Environments,
WACV 2019.
"""

from pathlib import Path

from datasets.base import ClassTable, FileSplit
from datasets.file_table import FileTable
from datasets.layout import (
    LABEL_SUFFIXES,
    OnUnpaired,
    check_folder,
    check_single_cv,
    check_split,
    check_unique,
    folder_items,
    list_files,
    raise_error,
)
from utils.constants import IGNORE_LABEL
from utils.errors import DataError

PARTS = {"train": ("train",), "val": ("val",), "trainval": ("train", "val"), "test": ("test",)}
SPLITS = tuple(PARTS)
TAILS = ("_leftImg8bit", "_gtFine_labellevel3Ids")
EXPECTED = f"leftImg8bit/<split>/<sequence>/*{TAILS[0]}.png or .jpg and gtFine/<split>/<sequence>/*{TAILS[1]}.png"

# the train id and the label id are the row
_ROWS = (
    ("road", (128, 64, 128)),
    ("drivable fallback", (81, 0, 81)),
    ("sidewalk", (244, 35, 232)),
    ("non-drivable fallback", (152, 251, 152)),
    ("person", (220, 20, 60)),
    ("rider", (255, 0, 0)),
    ("motorcycle", (0, 0, 230)),
    ("bicycle", (119, 11, 32)),
    ("autorickshaw", (255, 204, 54)),
    ("car", (0, 0, 142)),
    ("truck", (0, 0, 70)),
    ("bus", (0, 60, 100)),
    ("vehicle fallback", (136, 143, 153)),
    ("curb", (220, 190, 40)),
    ("wall", (102, 102, 156)),
    ("fence", (190, 153, 153)),
    ("guard rail", (180, 165, 180)),
    ("billboard", (174, 64, 67)),
    ("traffic sign", (220, 220, 0)),
    ("traffic light", (250, 170, 30)),
    ("pole", (153, 153, 153)),
    ("obs-str-bar-fallback", (169, 187, 214)),
    ("building", (70, 70, 70)),
    ("bridge", (150, 100, 100)),
    ("vegetation", (107, 142, 35)),
    ("sky", (70, 130, 180)),
)

CLASSES = ClassTable(
    names=tuple(name for name, _ in _ROWS),
    palette=tuple(color for _, color in _ROWS),
    label_ids=tuple(range(len(_ROWS))),
    id_to_train={i: i for i in range(len(_ROWS))} | {IGNORE_LABEL: IGNORE_LABEL},
)


def build_split(root: Path, split: str, cv: int = 0, on_unpaired: OnUnpaired = raise_error) -> FileSplit:
    """One split; a sample's name holds its sequence, because the names of frames repeat.

    Args:
        root: Folder with `leftImg8bit` and `gtFine`, of one part of the data set or of both.
        split: `train`, `val`, `trainval` or `test` (without labels).
        cv: Only 0, the official split.
        on_unpaired: Called with a fault of pairing; by default it is raised.

    Raises:
        OptionError: Unknown split or fold.
        DataError: A folder is missing, an image or a label has no partner, or the level-3 labels have to be made first.
    """
    root = Path(root)
    check_split("idd", split, SPLITS)
    check_single_cv("idd", cv)
    items = FileTable()
    for part in PARTS[split]:
        labels = None if split == "test" else root / "gtFine" / part
        if labels is not None:
            check_folder(root, root / "leftImg8bit", EXPECTED)
            _check_level3(root, labels)
        items += folder_items(
            root, root / "leftImg8bit" / part, labels, EXPECTED, on_unpaired, nested=True, tails=TAILS
        )
    return FileSplit("idd", split, CLASSES, check_unique(items))


def _check_level3(root: Path, labels: Path) -> None:
    """Raises `DataError` if the polygons were not yet drawn as label maps, which the archives don't hold."""
    check_folder(root, labels, EXPECTED)
    if not list_files(labels, LABEL_SUFFIXES, nested=True, tail=TAILS[1]):
        raise DataError(
            f"{labels}: no *{TAILS[1]}.png below it; make them from the polygons with github.com/AutoNUE/public-code:"
            f" python preperation/createLabels.py --datadir {root} --id-type level3Id"
        )
