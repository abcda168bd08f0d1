"""A user's own data: `images/`, `masks/` and a `classes.json` that names the classes and their label ids.

Example of `classes.json`; `color` and `ignore` may be left out:
    {"classes": [{"name": "road", "id": 0, "color": [128, 64, 128]}, {"name": "car", "id": 1}], "ignore": [255]}
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from datasets.base import IGNORE_LABEL, ClassTable, FileItem, FileSplit
from datasets.layout import (
    LABEL_SUFFIXES,
    check_folder,
    check_single_cv,
    check_split,
    check_unique,
    empty_error,
    list_files,
    pair_files,
)
from utils.errors import DataError

SPLITS = ("train", "val", "trainval", "test")
VAL_SHARE = 0.2
EXPECTED = "images/[train|val|test/], masks/[train|val|test/] (8-bit PNG of label ids) and classes.json"


def build_split(root: Path, split: str, cv: int = 0) -> FileSplit:
    """One split of a folder of images and masks; names keep their path below `images/[split/]`.

    With `images/train` or `images/val` those folders are the splits. Otherwise all images (but `images/test`) are one
    pool that a hash of the names divides, about 20 % for `val`: neighbouring frames of a video then fall on both sides,
    so use folders for videos. Masks of `test` are optional, all or none.

    Args:
        root: Folder with `images`, `masks` and `classes.json`.
        split: `train`, `val`, `trainval` or `test`.
        cv: Only 0.

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
        items = _part_items(root, "test", labelled=(root / "masks" / "test").is_dir())
    elif (root / "images" / "train").is_dir() or (root / "images" / "val").is_dir():
        parts = ("train", "val") if split == "trainval" else (split,)
        items = [item for part in parts for item in _part_items(root, part)]
    else:
        items = _pool_items(root, split)
    return FileSplit("folder", split, classes, check_unique(items))


def load_classes(path: Path) -> ClassTable:
    """`classes.json` -> class table; the train id is the position in the list, missing colours are generated.

    Raises:
        DataError: The file is missing or malformed; the message names it and the key.
    """
    data = _read_json(path)
    rows = data.get("classes")
    if not isinstance(rows, list) or not 0 < len(rows) < IGNORE_LABEL:
        raise DataError(f"{path}: key 'classes' must be a list of 1 to {IGNORE_LABEL - 1} classes")
    names, ids, colors = [], [], []
    for i, row in enumerate(rows):
        key = f"classes[{i}]"
        if not isinstance(row, dict):
            raise DataError(f'{path}: key {key!r} must be an object such as {{"name": "road", "id": 0}}')
        names.append(_checked_name(path, f"{key}.name", row.get("name"), names))
        ids.append(_checked_id(path, f"{key}.id", row.get("id"), ids))
        colors.append(_checked_color(path, f"{key}.color", row.get("color", _generated_color(i + 1))))
    ignored = data.get("ignore", [] if IGNORE_LABEL in ids else [IGNORE_LABEL])
    if not isinstance(ignored, list):
        raise DataError(f"{path}: key 'ignore' must be a list of label ids")
    table = {_checked_id(path, f"ignore[{i}]", value, ids): IGNORE_LABEL for i, value in enumerate(ignored)}
    table |= {label_id: train_id for train_id, label_id in enumerate(ids)}
    return ClassTable(names=tuple(names), palette=tuple(colors), label_ids=tuple(ids), id_to_train=table)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); it names the classes and their ids") from error
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(data, dict):
        raise DataError(f"{path}: must be an object with the key 'classes'")
    return data


def _checked_name(path: Path, key: str, value: Any, taken: list[str]) -> str:
    if not isinstance(value, str) or not value or value in taken:
        raise DataError(f"{path}: key {key!r} must be a name no other class has, given {value!r}")
    return value


def _checked_id(path: Path, key: str, value: Any, taken: list[int]) -> int:
    if type(value) is not int or not 0 <= value <= 255 or value in taken:
        raise DataError(f"{path}: key {key!r} must be an id from 0 to 255 that no class has yet, given {value!r}")
    return value


def _checked_color(path: Path, key: str, value: Any) -> tuple[int, int, int]:
    if not isinstance(value, list) or len(value) != 3 or not all(type(v) is int and 0 <= v <= 255 for v in value):
        raise DataError(f"{path}: key {key!r} must be three numbers from 0 to 255, given {value!r}")
    return (value[0], value[1], value[2])


def _generated_color(number: int) -> list[int]:
    """A colour per number, distinct for 0 to 255: three bits at a time, spread from the top bit down (PASCAL VOC)."""
    color = [0, 0, 0]
    for level in range(8):
        for channel in range(3):
            color[channel] |= (number >> (3 * level + channel) & 1) << (7 - level)
    return color


def _part_items(root: Path, part: str, labelled: bool = True) -> list[FileItem]:
    image_folder, mask_folder = root / "images" / part, root / "masks" / part
    for folder in (image_folder, mask_folder) if labelled else (image_folder,):
        check_folder(root, folder, EXPECTED)
    images = list_files(image_folder, nested=True)
    if not images:
        raise empty_error(root, image_folder, EXPECTED)
    if not labelled:
        return [FileItem(name, path, None) for name, path in images.items()]
    return pair_files(images, list_files(mask_folder, LABEL_SUFFIXES, nested=True), mask_folder)


def _pool_items(root: Path, split: str) -> list[FileItem]:
    """The labelled pool, or the share of it that the hash of the names gives to `split`."""
    image_folder, mask_folder = root / "images", root / "masks"
    check_folder(root, mask_folder, EXPECTED)
    images, masks = (
        {name: path for name, path in files.items() if not name.startswith("test/")}
        for files in (list_files(image_folder, nested=True), list_files(mask_folder, LABEL_SUFFIXES, nested=True))
    )
    if not images:
        raise empty_error(root, image_folder, EXPECTED)
    items = pair_files(images, masks, mask_folder)
    if split == "trainval":
        return items
    if len(items) < 2:
        raise DataError(f"{image_folder}: one image can't be divided into train and val; add more (set --data_root)")
    hashes = {item.name: _share_of(item.name) for item in items}
    below = sum(value < VAL_SHARE for value in hashes.values())
    count = min(max(below, 1), len(items) - 1)  # neither side is empty
    val = set(sorted(hashes, key=lambda name: hashes[name])[:count])
    return [item for item in items if (item.name in val) == (split == "val")]


def _share_of(name: str) -> float:
    """A number in [0, 1) that depends on the name only."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
    return int(digest[:8], 16) / 2**32
