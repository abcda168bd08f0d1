"""`classes.json` of a user's own data: the classes, and where and how images and masks lie."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets.base import ClassTable
from datasets.class_file import check_keys
from datasets.own.colors import ColorCode
from datasets.own.names import NamePattern
from datasets.own.table import read_classes
from utils.errors import DataError

SPLITS = ("train", "val", "test")
KEYS = (
    *("classes", "ignore", "masks", "image_folder", "mask_folder", "image_name", "mask_name"),
    *("splits", "skip_unlabelled"),
)


@dataclass(frozen=True)
class Settings:
    """What `classes.json` says.

    Attributes:
        file: Itself.
        classes: The class table.
        code: What colours of masks mean; None where masks hold ids.
        image_folder: Folder of the images, absolute or from where the program runs.
        mask_folder: The same of the masks.
        image_name: Pattern of the images' names.
        mask_name: The same of the masks'.
        splits: Split -> folder below both folders, or list file; empty where the folders' names say it.
        skip_unlabelled: Leave out images without a mask.
    """

    file: Path
    classes: ClassTable
    code: ColorCode | None
    image_folder: Path
    mask_folder: Path
    image_name: NamePattern
    mask_name: NamePattern
    splits: dict[str, str]
    skip_unlabelled: bool

    @property
    def root(self) -> Path:
        """The data set's folder."""
        return self.file.parent

    @property
    def expected(self) -> str:
        """The layout, for messages."""
        folders = (os.path.relpath(folder, self.root) for folder in (self.image_folder, self.mask_folder))
        images, masks = (f"{folder}/".removeprefix("./") for folder in folders)
        return describe_layout(images, masks, "label ids" if self.code is None else "colours")


def describe_layout(images: str, masks: str, kind: str) -> str:
    """What is expected below the data's folder, for messages; folders end with a slash."""
    return (
        f"{images}[train|val|test/], {masks}[train|val|test/] (8-bit PNG of {kind}) and classes.json, which may name"
        ' other folders ("image_folder", "mask_folder"),'
    )


def read_settings(path: Path) -> Settings:
    """Read `classes.json`.

    Raises:
        DataError: The file is missing or malformed; the message names it and the key.
    """
    data, classes, code = read_classes(path)
    check_keys(path, data, KEYS)
    folders = [
        _text(path, data, key, default) for key, default in (("image_folder", "images"), ("mask_folder", "masks"))
    ]
    names = [_pattern(path, data, key) for key in ("image_name", "mask_name")]
    if os.path.normpath(folders[0]) == os.path.normpath(folders[1]) and names[0] == names[1]:
        raise DataError(
            f"{path}: key 'mask_name' must tell masks from images, which lie in the same folder; \"*_mask\" is"
            " such a pattern"
        )
    skip = data.get("skip_unlabelled", False)
    if not isinstance(skip, bool):
        raise DataError(f"{path}: key 'skip_unlabelled' must be true or false, given {skip!r}")
    images, masks = (path.parent / os.path.normpath(folder) for folder in folders)
    return Settings(path, classes, code, images, masks, *names, _splits(path, data), skip)


def _text(path: Path, data: dict[str, Any], key: str, default: str) -> str:
    value = data.get(key, default)
    if not isinstance(value, str) or not value:
        raise DataError(f"{path}: key {key!r} must be a folder's name, given {value!r}")
    return value


def _pattern(path: Path, data: dict[str, Any], key: str) -> NamePattern:
    value = data.get(key, "*")
    if not isinstance(value, str) or value.count("*") != 1 or "/" in value:
        raise DataError(
            f"{path}: key {key!r} must be a file name without suffix in which one * stands for the sample's name,"
            f' such as "*_mask"; given {value!r}'
        )
    return NamePattern.parse(value)


def _splits(path: Path, data: dict[str, Any]) -> dict[str, str]:
    splits = data.get("splits", {})
    if not isinstance(splits, dict) or not all(isinstance(value, str) and value for value in splits.values()):
        raise DataError(f"{path}: key 'splits' must be an object of folders or list files, given {splits!r}")
    check_keys(path, splits, SPLITS, "splits.")
    for name in ("train", "val"):
        if splits and name not in splits:
            raise DataError(f"{path}: key 'splits.{name}' is missing; name its folder or list file")
    return splits
