"""Mapillary Vistas 1.2: street scenes of all continents; its configuration file names the classes.

Source: Neuhold et al., The Mapillary Vistas Dataset for Semantic Understanding of Street Scenes, ICCV 2017.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from datasets.base import ClassTable, FileSplit
from datasets.class_file import checked_color, checked_name, read_rows
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
from utils.errors import DataError

PARTS = {
    "train": ("training",),
    "val": ("validation",),
    "trainval": ("training", "validation"),
    "test": ("testing",),
}
SPLITS = tuple(PARTS)
PUBLISHED_COUNTS = {"train": 18000, "val": 2000, "test": 5000}
CONFIGS = ("config_v1.2.json", "config.json")  # of the archives 2.0 and 1.2
EXPECTED = "config.json, training/images, training/labels, validation/... and testing/images (or those of archive 2.0)"


def build_split(root: Path, split: str, cv: int = 0, on_unpaired: OnUnpaired = raise_error) -> FileSplit:
    """One split with the classes of version 1.2, from the archive of version 1.2 or 2.0.

    Args:
        root: Folder with `config.json` and `training/labels`, or with `config_v1.2.json` and `training/v1.2/labels`.
        split: `train`, `val`, `trainval` or `test` (without labels).
        cv: Only 0, the official split.
        on_unpaired: Called with a fault of pairing; by default it is raised.

    Raises:
        OptionError: Unknown split or fold.
        DataError: The configuration is missing or malformed, or an image or a label has no partner.
    """
    root = Path(root)
    classes = split_classes("mapillary", root, split, cv, CONFIGS, EXPECTED)
    places = {part: root / part / "v1.2" / "labels" for part in PARTS[split]}
    folders = {part: place if place.is_dir() else root / part / "labels" for part, place in places.items()}
    return FileSplit("mapillary", split, classes, split_items(root, split, folders, EXPECTED, on_unpaired))


def split_classes(dataset: str, root: Path, split: str, cv: int, configs: Sequence[str], expected: str) -> ClassTable:
    """The classes of the first of the configuration files `configs` that is there; split and fold are checked first.

    Raises:
        OptionError: Unknown split or fold of `dataset`.
        DataError: No configuration, or a malformed one; the message says what is `expected` below `root`.
    """
    check_split(dataset, split, SPLITS)
    check_single_cv(dataset, cv)
    check_folder(root, root, expected)
    found = [root / name for name in configs if (root / name).is_file()]
    if not found:
        raise DataError(f"{root / configs[-1]}: no such file; expected {expected} below {root} (set --data_root)")
    return load_classes(found[0])


def split_items(
    root: Path, split: str, labels: Mapping[str, Path], expected: str, on_unpaired: OnUnpaired
) -> FileTable:
    """The samples of a split whose parts have these folders of `labels`, which are not looked at for `test`.

    Raises:
        DataError: A folder is missing, an image or a label has no partner, or names are not unique.
    """
    items = FileTable()
    for part in PARTS[split]:
        folder = None if split == "test" else labels[part]
        items += folder_items(root, root / part / "images", folder, expected, on_unpaired)
    return check_unique(items)


def load_classes(path: Path) -> ClassTable:
    """The configuration's labels -> class table: the label id is the row, rows that aren't evaluated are ignored.

    Raises:
        DataError: The file is missing or malformed; the message names it and the key.
    """
    _, rows = read_rows(path, "labels", IGNORE_LABEL)
    names, colors, ids = [], [], []
    for label_id, row in enumerate(rows):
        key = f"labels[{label_id}]"
        if type(row.get("evaluate")) is not bool:
            raise DataError(f"{path}: key '{key}.evaluate' must be true or false, given {row.get('evaluate')!r}")
        if row["evaluate"]:
            names.append(checked_name(path, f"{key}.readable", row.get("readable"), names))
            colors.append(checked_color(path, f"{key}.color", row.get("color")))
            ids.append(label_id)
    table = dict.fromkeys(range(len(rows)), IGNORE_LABEL) | {label_id: i for i, label_id in enumerate(ids)}
    return ClassTable(names=tuple(names), palette=tuple(colors), label_ids=tuple(ids), id_to_train=table)
