"""ACDC: street scenes in fog, at night, in rain and in snow, in the classes and label ids of Cityscapes.

Source: Sakaridis et al., ACDC: The Adverse Conditions Dataset with Correspondences for Semantic Driving Scene
Understanding, ICCV 2021; the layout is that of its archives `rgb_anon_trainvaltest.zip` and `gt_trainval.zip`.
"""

from itertools import product
from pathlib import Path

from datasets.base import FileSplit
from datasets.cityscapes import CLASSES
from datasets.file_table import FileTable
from datasets.layout import OnUnpaired, check_folder, check_single_cv, check_split, folder_items, raise_error

__all__ = ["CLASSES", "PUBLISHED_COUNTS", "build_split"]

CONDITIONS = ("fog", "night", "rain", "snow")
PARTS = {"train": ("train",), "val": ("val",), "trainval": ("train", "val"), "test": ("test",)}
SPLITS = (*PARTS, *(f"{part}_{condition}" for part, condition in product(PARTS, CONDITIONS)))
PUBLISHED_COUNTS = {"train": 1600, "val": 406, "test": 2000}
PUBLISHED_COUNTS |= {f"train_{condition}": 400 for condition in CONDITIONS}
PUBLISHED_COUNTS |= {f"val_{condition}": 106 if condition == "night" else 100 for condition in CONDITIONS}
PUBLISHED_COUNTS |= {f"test_{condition}": 500 for condition in CONDITIONS}
TAILS = ("_rgb_anon", "_gt_labelIds")
EXPECTED = (
    f"rgb_anon/<condition>/<split>/<sequence>/*{TAILS[0]}.png and gt/<condition>/<split>/<sequence>/*{TAILS[1]}.png"
)


def build_split(root: Path, split: str, cv: int = 0, on_unpaired: OnUnpaired = raise_error) -> FileSplit:
    """One split; a sample's name is `<condition>/<sequence>/<frame>`, so that it can be scored by condition.

    Args:
        root: Folder with `rgb_anon` and `gt`. The reference images in good weather (`train_ref`, ...) are not used.
        split: `train`, `val`, `trainval` or `test` (without labels), or one condition of it, such as `val_night`.
        cv: Only 0, the official split.
        on_unpaired: Called with a fault of pairing; by default it is raised.

    Raises:
        OptionError: Unknown split or fold.
        DataError: A folder is missing, or an image or a label has no partner.
    """
    root = Path(root)
    check_split("acdc", split, SPLITS)
    check_single_cv("acdc", cv)
    check_folder(root, root / "rgb_anon", EXPECTED)
    name, _, only = split.partition("_")
    items = FileTable()
    for condition, part in product((only,) if only else CONDITIONS, PARTS[name]):
        images = root / "rgb_anon" / condition / part
        labels = None if name == "test" else root / "gt" / condition / part
        found = folder_items(root, images, labels, EXPECTED, on_unpaired, nested=True, tails=TAILS)
        items += FileTable([f"{condition}/{frame}" for frame in found.names], *(found.paths(kind) for kind in range(2)))
    return FileSplit("acdc", split, CLASSES, items)
