"""A user's own data: `images/`, `masks/` and a `classes.json` that names the classes and their label ids.

Example of `classes.json`; `color` and `ignore` may be left out:
    {"classes": [{"name": "road", "id": 0, "color": [128, 64, 128]}, {"name": "car", "id": 1}], "ignore": [255]}
"""

import hashlib
from functools import partial
from pathlib import Path

from datasets.base import ClassTable, FileSplit
from datasets.class_file import checked_color, checked_id, checked_name, read_rows
from datasets.file_table import FileTable
from datasets.layout import (
    LABEL_SUFFIXES,
    OnUnpaired,
    check_folder,
    check_single_cv,
    check_split,
    check_unique,
    empty_error,
    folder_items,
    list_files,
    pair_files,
    raise_error,
)
from utils.constants import IGNORE_LABEL
from utils.errors import DataError

SPLITS = ("train", "val", "trainval", "test")
VAL_SHARE = 0.2
EXPECTED = "images/[train|val|test/], masks/[train|val|test/] (8-bit PNG of label ids) and classes.json"


def build_split(root: Path, split: str, cv: int = 0, on_unpaired: OnUnpaired = raise_error) -> FileSplit:
    """One split of a folder of images and masks; names keep their path below `images/[split/]`.

    With `images/train` or `images/val` those folders are the splits. Otherwise all images (but `images/test`) are one
    pool that a hash of the names divides, about 20 % for `val`: neighbouring frames of a video then fall on both sides,
    so use folders for videos. Masks of `test` are optional, all or none.

    Args:
        root: Folder with `images`, `masks` and `classes.json`.
        split: `train`, `val`, `trainval` or `test`.
        cv: Only 0.
        on_unpaired: Called with a fault of pairing; by default it is raised.

    Raises:
        OptionError: Unknown split or fold.
        DataError: `classes.json` is malformed, a folder is missing, an image or a mask has no partner.
    """
    root = Path(root)
    check_split("folder", split, SPLITS)
    check_single_cv("folder", cv)
    for folder in (root, root / "images"):
        check_folder(root, folder, EXPECTED)
    classes = load_classes(root / "classes.json")
    if split == "test":
        masks = root / "masks" / "test"
        items = folder_items(
            root, root / "images" / "test", masks if masks.is_dir() else None, EXPECTED, on_unpaired, nested=True
        )
    elif (root / "images" / "train").is_dir() or (root / "images" / "val").is_dir():
        parts = ("train", "val") if split == "trainval" else (split,)
        folders = [(root / "images" / part, root / "masks" / part) for part in parts]
        items = FileTable()
        for images, masks in folders:
            items += folder_items(root, images, masks, EXPECTED, on_unpaired, nested=True)
    else:
        items = _pool_items(root, split, on_unpaired)
    built = FileSplit("folder", split, classes, check_unique(items))
    if split in ("val", "test"):
        built.rules_from = partial(build_split, root, "train")
    return built


def load_classes(path: Path) -> ClassTable:
    """`classes.json` -> class table; the train id is the position in the list, missing colours are generated.

    Raises:
        DataError: The file is missing or malformed; the message names it and the key.
    """
    data, rows = read_rows(path, "classes", IGNORE_LABEL - 1)
    names, ids, colors = [], [], []
    for i, row in enumerate(rows):
        key = f"classes[{i}]"
        names.append(checked_name(path, f"{key}.name", row.get("name"), names))
        ids.append(checked_id(path, f"{key}.id", row.get("id"), ids))
        colors.append(checked_color(path, f"{key}.color", row.get("color", _generated_color(i + 1))))
    ignored = data.get("ignore", [] if IGNORE_LABEL in ids else [IGNORE_LABEL])
    if not isinstance(ignored, list):
        raise DataError(f"{path}: key 'ignore' must be a list of label ids")
    table = {checked_id(path, f"ignore[{i}]", value, ids): IGNORE_LABEL for i, value in enumerate(ignored)}
    table |= {label_id: train_id for train_id, label_id in enumerate(ids)}
    return ClassTable(names=tuple(names), palette=tuple(colors), label_ids=tuple(ids), id_to_train=table)


def _generated_color(number: int) -> list[int]:
    """A colour per number, distinct for 0 to 255: three bits at a time, spread from the top bit down (PASCAL VOC)."""
    color = [0, 0, 0]
    for level in range(8):
        for channel in range(3):
            color[channel] |= (number >> (3 * level + channel) & 1) << (7 - level)
    return color


def _pool_items(root: Path, split: str, on_unpaired: OnUnpaired) -> FileTable:
    """The labelled pool, or the share of it that the hash of the names gives to `split`."""
    image_folder, mask_folder = root / "images", root / "masks"
    check_folder(root, mask_folder, EXPECTED)
    images, masks = (
        {name: path for name, path in files.items() if not name.startswith("test/")}
        for files in (list_files(image_folder, nested=True), list_files(mask_folder, LABEL_SUFFIXES, nested=True))
    )
    if not images:
        raise empty_error(root, image_folder, EXPECTED)
    items = pair_files(images, masks, mask_folder, on_unpaired)
    if split == "trainval":
        return items
    if len(items) < 2:
        raise DataError(f"{image_folder}: one image can't be divided into train and val; add more (set --data_root)")
    hashes = {name: _share_of(name) for name in items.names}
    below = sum(value < VAL_SHARE for value in hashes.values())
    count = min(max(below, 1), len(items) - 1)  # neither side is empty
    val = set(sorted(hashes, key=lambda name: hashes[name])[:count])
    return items.take([row for row, name in enumerate(items.names) if (name in val) == (split == "val")])


def _share_of(name: str) -> float:
    """A number in [0, 1) that depends on the name only."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
    return int(digest[:8], 16) / 2**32
