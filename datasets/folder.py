"""A user's own data: `images/`, `masks/` and a `classes.json` that names the classes and their label ids.

Example of `classes.json`; DATASETs.md shows all keys:
    {"classes": [{"name": "road", "id": 0, "color": [128, 64, 128]}, {"name": "car", "id": 1}], "ignore": [255]}
"""

from pathlib import Path

from datasets.base import FileSplit
from datasets.file_table import FileTable
from datasets.layout import check_folder, check_single_cv, check_split, check_unique, empty_error
from datasets.own.colors import ColorSplit
from datasets.own.files import OwnFiles
from datasets.own.settings import Settings, describe_layout, read_settings
from datasets.own.splits import check_clear, describe_folders, describe_rest, is_list, listed, split_folders, val_names
from datasets.pairing import OnUnpaired, match_names, raise_error
from utils.errors import DataError

SPLITS = ("train", "val", "trainval", "test")


def build_split(root: Path, split: str, cv: int = 0, on_unpaired: OnUnpaired = raise_error) -> FileSplit:
    """One split of a folder of images and masks; names keep their path below the split's folder.

    The splits are those that `classes.json` names, else the folders below `images` that are called like them. Otherwise
    all images (but those of `images/test`) are one pool that a hash of the names divides, about 20 % for `val`:
    neighbouring frames of a video then fall on both sides, so use folders for videos. Masks of `test` are optional,
    all or none. The split's `notes` say how it was made.

    Args:
        root: Folder with `images`, `masks` and `classes.json`.
        split: `train`, `val`, `trainval` or `test`.
        cv: Only 0.
        on_unpaired: Called with a fault of pairing; by default it is raised.

    Raises:
        OptionError: Unknown split or fold.
        DataError: `classes.json` is malformed, a folder or a listed image is missing, an image or a mask has no
            partner, or it isn't clear which folder is which split.
    """
    root = Path(root)
    check_split("folder", split, SPLITS)
    check_single_cv("folder", cv)
    settings = _open(root)
    files = OwnFiles(settings, on_unpaired)
    parts = ("train", "val") if split == "trainval" else (split,)
    tables = [_named(files, part) for part in parts] if settings.splits else _found(files, parts)
    items = _joined(tables, parts)
    if settings.code:
        built = ColorSplit("folder", split, settings.classes, items, settings.code)
    else:
        built = FileSplit("folder", split, settings.classes, items)
    built.notes = tuple(files.notes)
    return built


def _open(root: Path) -> Settings:
    expected = describe_layout("images/", "masks/", "label ids or colours")
    check_folder(root, root, expected)
    path = root / "classes.json"
    if not path.exists():
        check_folder(root, root / "images", expected)
    settings = read_settings(path)
    check_folder(root, settings.image_folder, settings.expected)
    return settings


def _named(files: OwnFiles, part: str) -> FileTable:
    """A split that `classes.json` names, by a folder or by a list file."""
    settings = files.settings
    if part not in settings.splits:
        raise DataError(f"{settings.file}: key 'splits' names no {part}; add its folder or list file")
    value, images, masks = settings.splits[part], settings.image_folder, settings.mask_folder
    if not is_list(value, settings):
        return files.folder(images / value, masks / value, optional=part == "test")
    found = files.images(images)
    found = {name: found[name] for name in listed(settings.root / value, part, found, settings)}
    partners = files.masks(masks)
    wanted = set(match_names(found, partners).values())  # the rest is other splits'
    return files.pair(found, {name: partners[name] for name in wanted}, masks, optional=part == "test")


def _joined(tables: list[FileTable], parts: tuple[str, ...]) -> FileTable:
    """One table; where different images of two splits share a name, all have their split in front: `train/000`."""
    names = [name for table in tables for name in table.names]
    images = [path for table in tables for path in table.paths(0)]
    if len(set(names)) < len(names) and len(set(images)) == len(images) and len(tables) > 1:
        tables = [
            FileTable([f"{part}/{name}" for name in table.names], table.paths(0), table.paths(1))
            for part, table in zip(parts, map(check_unique, tables), strict=True)
        ]
    return check_unique(sum(tables, FileTable()))


def _found(files: OwnFiles, parts: tuple[str, ...]) -> list[FileTable]:
    """Splits by the names of the folders, or by a hash where there are none for `train` and `val`."""
    settings = files.settings
    images = split_folders(settings.image_folder, settings)
    masks = split_folders(settings.mask_folder, settings) if settings.mask_folder.is_dir() else {}
    check_clear(settings.image_folder, images, settings)
    pooled = not {"train", "val"} & images.keys()
    files.notes += describe_folders(images, masks, settings)
    if not pooled:
        files.notes += describe_rest(images, settings)
    if pooled and parts != ("test",):
        return [_pool(files, parts, images.get("test"), masks.get("test"))]
    tables = []
    for part in parts:
        image_folder = settings.image_folder / images.get(part, part)
        mask_folder = settings.mask_folder / masks.get(part, images.get(part, part))
        tables.append(files.folder(image_folder, mask_folder, optional=part == "test"))
    return tables


def _pool(files: OwnFiles, parts: tuple[str, ...], test_images: str | None, test_masks: str | None) -> FileTable:
    """All labelled images but those of the test, or the part of them that the hash of the names gives."""
    settings = files.settings
    check_folder(settings.root, settings.mask_folder, settings.expected)
    images, masks = files.images(settings.image_folder), files.masks(settings.mask_folder)
    if images and test_images and all(name.startswith(f"{test_images}/") for name in images):
        what = f"all {len(images)} images are in {test_images}, so none is left to train on"
        raise DataError(f"{settings.image_folder}: {what}; move some into a folder train beside it")
    images, masks = _outside(images, test_images), _outside(masks, test_masks)
    if not images:
        raise empty_error(settings.root, settings.image_folder, settings.expected)
    items = files.pair(images, masks, settings.mask_folder)
    if len(parts) == 2:
        return items
    if len(items) < 2:
        raise DataError(
            f"{settings.image_folder}: one image can't be divided into train and val; add images, or train and validate"
            " on this one: --train_split trainval --val_split trainval --bs_mult 1 --norm group"
        )
    val = val_names(items.names)
    files.notes.append(
        f"splits are by a hash of the names: {len(items) - len(val)} images of {settings.image_folder} -> train,"
        f' {len(val)} -> val; for videos make folders train and val, or list files, see "splits" in DATASETs.md'
    )
    return items.take([row for row, name in enumerate(items.names) if (name in val) == (parts == ("val",))])


def _outside(found: dict[str, str], folder: str | None) -> dict[str, str]:
    """Without the samples in a folder."""
    return {name: path for name, path in found.items() if folder is None or not name.startswith(f"{folder}/")}
