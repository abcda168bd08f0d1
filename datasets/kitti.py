"""KITTI semantics 2015: 200 labelled street scenes in the classes and label ids of Cityscapes.

Source: Alhaija et al., Augmented Reality Meets Computer Vision, IJCV 2018.
"""

from pathlib import Path

from datasets.base import FileSplit
from datasets.cityscapes import CLASSES
from datasets.layout import OnUnpaired, check_cv, check_split, folder_items, raise_error
from utils.errors import DataError

SPLITS = ("train", "val", "trainval", "test")
PUBLISHED_COUNTS = {"test": 200}
NUM_FOLDS = 5
EXPECTED = "training/image_2, training/semantic (8-bit PNG of label ids) and testing/image_2"


def build_split(root: Path, split: str, cv: int = 0, on_unpaired: OnUnpaired = raise_error) -> FileSplit:
    """One split. The authors publish no validation split, so `val` is a fold of the labelled images.

    Args:
        root: Folder with `training` and `testing`.
        split: `train`, `val`, `trainval` (all labelled images) or `test` (without labels).
        cv: Fold that `val` holds and `train` leaves out, 0 to 4: a fifth of the sorted names, in one piece, because
            neighbouring names can be of one drive.
        on_unpaired: Called with a fault of pairing; by default it is raised.

    Raises:
        OptionError: Unknown split or fold.
        DataError: A folder is missing, an image or a label has no partner, or there are fewer images than folds.
    """
    root = Path(root)
    check_split("kitti", split, SPLITS)
    check_cv("kitti", cv, NUM_FOLDS)
    if split == "test":
        items = folder_items(root, root / "testing" / "image_2", None, EXPECTED, on_unpaired)
    else:
        items = folder_items(root, root / "training" / "image_2", root / "training" / "semantic", EXPECTED, on_unpaired)
    if split in ("train", "val"):
        if len(items) < NUM_FOLDS:
            raise DataError(f"{root / 'training' / 'image_2'}: {len(items)} images for {NUM_FOLDS} folds; add more")
        fold = range(cv * len(items) // NUM_FOLDS, (cv + 1) * len(items) // NUM_FOLDS)
        items = items.take([i for i in range(len(items)) if (i in fold) == (split == "val")])
    return FileSplit("kitti", split, CLASSES, items)
