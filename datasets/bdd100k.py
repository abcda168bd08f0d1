"""BDD100K, semantic segmentation: street scenes of the United States; label files hold the train ids of Cityscapes.

Source: Yu et al., BDD100K: A Diverse Driving Dataset for Heterogeneous Multitask Learning, CVPR 2020.
"""

from dataclasses import replace
from pathlib import Path

from datasets import cityscapes
from datasets.base import FileSplit
from datasets.file_table import FileTable
from datasets.layout import (
    OnUnpaired,
    check_folder,
    check_single_cv,
    check_split,
    check_unique,
    folder_items,
    raise_error,
)
from utils.constants import IGNORE_LABEL

PARTS = {"train": ("train",), "val": ("val",), "trainval": ("train", "val"), "test": ("test",)}
SPLITS = tuple(PARTS)
PUBLISHED_COUNTS = {"train": 7000, "val": 1000, "test": 2000}
# folders of images and labels, and what the name of a label ends with: today's archives, then those of 2018
LAYOUTS = (("images/10k", "labels/sem_seg/masks", ""), ("seg/images", "seg/labels", "_train_id"))
EXPECTED = "images/10k/<split>/*.jpg and labels/sem_seg/masks/<split>/*.png, or seg/images/... and seg/labels/..."

_IDS = tuple(range(cityscapes.CLASSES.num_classes))
CLASSES = replace(
    cityscapes.CLASSES, label_ids=_IDS, id_to_train=dict(zip(_IDS, _IDS, strict=True)) | {IGNORE_LABEL: IGNORE_LABEL}
)


def build_split(root: Path, split: str, cv: int = 0, on_unpaired: OnUnpaired = raise_error) -> FileSplit:
    """One split.

    Args:
        root: Folder with `images` and `labels`, or with `seg` (the archives of 2018); or the folder above, where these
            lie in `bdd100k`.
        split: `train`, `val`, `trainval` or `test` (without labels).
        cv: Only 0, the official split.
        on_unpaired: Called with a fault of pairing; by default it is raised.

    Raises:
        OptionError: Unknown split or fold.
        DataError: A folder is missing, or an image or a label has no partner.
    """
    root = Path(root)
    check_split("bdd100k", split, SPLITS)
    check_single_cv("bdd100k", cv)
    check_folder(root, root, EXPECTED)
    places = [(base, layout) for base in (root, root / "bdd100k") for layout in LAYOUTS]
    base, (images, labels, tail) = next((p for p in places if (p[0] / p[1][0]).is_dir()), places[0])
    items = FileTable()
    for part in PARTS[split]:
        label_folder = None if split == "test" else base / labels / part
        items += folder_items(root, base / images / part, label_folder, EXPECTED, on_unpaired, tails=("", tail))
    return FileSplit("bdd100k", split, CLASSES, check_unique(items))
