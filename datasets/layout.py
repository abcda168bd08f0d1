"""Finding samples below a root: checked splits and folders, listed files, images paired with labels."""

import os
from collections.abc import Sequence
from pathlib import Path

from datasets.base import FileItem
from datasets.pairing import report_unpaired
from datasets.reading import IMAGE_SUFFIXES
from utils.errors import DataError, OptionError

LABEL_SUFFIXES = (".png",)


def check_split(dataset: str, split: str, allowed: Sequence[str]) -> None:
    """Raises `OptionError` naming the allowed splits unless `split` is one of them."""
    if split not in allowed:
        raise OptionError(f"data set {dataset} has no split {split!r}; --split is one of {', '.join(allowed)}")


def check_single_cv(dataset: str, cv: int) -> None:
    """Raises `OptionError` if a cross-validation split is asked of a data set that has none."""
    if cv != 0:
        raise OptionError(f"--cv {cv}: data set {dataset} has only its official split; use --cv 0")


def check_folder(root: Path, path: Path, expected: str) -> None:
    """Raises `DataError` naming `path`, what is `expected` below `root`, and `--data_root`, if `path` is no folder."""
    if not os.path.isdir(path):
        raise DataError(f"{path}: no such folder, or not readable; expected {expected} below {root} (set --data_root)")


def empty_error(root: Path, path: Path, expected: str) -> DataError:
    """The `DataError` for a folder that exists and holds no sample."""
    return DataError(f"{path}: no images in it; expected {expected} below {root} (set --data_root)")


def list_files(folder: Path, suffixes: Sequence[str] = IMAGE_SUFFIXES, nested: bool = False) -> dict[str, Path]:
    """Files of `folder` by name without suffix (with `nested`, by relative path), sorted; hidden files are left out.

    Raises:
        DataError: Two files share a name, or the folder can't be listed.
    """
    found: dict[str, Path] = {}
    for path in _entries(folder, nested):
        if path.suffix.lower() not in suffixes or not path.is_file():
            continue
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            raise DataError(f"{found[name]} and {path} are both sample {name!r}; names must be unique, remove one")
        found[name] = path
    return dict(sorted(found.items()))


def list_folders(folder: Path) -> list[Path]:
    """Folders in `folder`, sorted; hidden ones are left out. Raises `DataError` if it can't be listed."""
    return [path for path in _entries(folder) if path.is_dir()]


def _entries(folder: Path, nested: bool = False) -> list[Path]:
    paths, seen = [], set()

    def walk(place: Path) -> None:
        if place.resolve() in seen:  # links in a loop
            return
        seen.add(place.resolve())
        for path in place.iterdir():
            if not path.name.startswith("."):
                paths.append(path)
                if nested and path.is_dir():
                    walk(path)

    try:
        walk(folder)
    except OSError as error:
        where = error.filename or folder
        raise DataError(f"{where}: cannot be listed ({error.strerror}); check its permissions") from error
    return sorted(paths)


def pair_files(images: dict[str, Path], labels: dict[str, Path], label_folder: Path) -> list[FileItem]:
    """Image and label files with the same name -> items, sorted by name.

    Raises:
        DataError: An image has no label, or a label no image; the message names the first and counts them.
    """
    missing = sorted(images.keys() - labels.keys())
    if missing:
        report_unpaired(missing_error(label_folder / f"{missing[0]}.png", images[missing[0]], len(missing)))
    extra = sorted(labels.keys() - images.keys())
    if extra:
        report_unpaired(
            DataError(f"{labels[extra[0]]}: label without an image ({len(extra)} in all); add the image or remove it")
        )
    return [FileItem(name, image, labels[name]) for name, image in images.items() if name in labels]


def missing_error(label: Path, image: Path, count: int) -> DataError:
    """The `DataError` for images without labels: the first label that is missing, and how many are."""
    return DataError(f"{label}: label of {image} is missing ({count} missing in all); add it or remove the image")


def check_unique(items: list[FileItem]) -> list[FileItem]:
    """`items` themselves. Raises `DataError` if two of them share a name."""
    seen: dict[str, FileItem] = {}
    for item in items:
        if item.name in seen:
            both = f"{seen[item.name].image} and {item.image}"
            raise DataError(f"{both} are both sample {item.name!r}; names must be unique, remove one")
        seen[item.name] = item
    return items
