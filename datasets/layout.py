"""Finding samples below a root: checked splits and folders, listed files, images paired with labels."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from datasets.base import FileItem
from datasets.reading import IMAGE_SUFFIXES
from utils.errors import DataError, OptionError

LABEL_SUFFIXES = (".png",)
OnUnpaired = Callable[[DataError], None]  # told of images without labels and of labels without images


def raise_error(error: DataError) -> None:
    """Raises `error`: what an unpaired file is to all but tools that look at damaged data."""
    raise error


def check_split(dataset: str, split: str, allowed: Sequence[str]) -> None:
    """Raises `OptionError` naming the allowed splits unless `split` is one of them."""
    if split not in allowed:
        raise OptionError(f"data set {dataset} has no split {split!r}; --split is one of {', '.join(allowed)}")


def check_single_cv(dataset: str, cv: int) -> None:
    """Raises `OptionError` if a cross-validation split is asked of a data set that has none."""
    if cv != 0:
        raise OptionError(f"--cv {cv}: data set {dataset} has only its official split; use --cv 0")


def check_cv(dataset: str, cv: int, folds: int) -> None:
    """Raises `OptionError` unless the data set has the cross-validation split `cv`, one of 0 to `folds` - 1."""
    if cv not in range(folds):
        raise OptionError(f"--cv {cv}: data set {dataset} has the cross-validation splits 0 to {folds - 1}")


def check_folder(root: Path, path: Path, expected: str) -> None:
    """Raises `DataError` naming `path`, what is `expected` below `root`, and `--data_root`, if `path` is no folder."""
    if not os.path.isdir(path):
        raise DataError(f"{path}: no such folder, or not readable; expected {expected} below {root} (set --data_root)")


def empty_error(root: Path, path: Path, expected: str) -> DataError:
    """The `DataError` for a folder that exists and holds no sample."""
    return DataError(f"{path}: no images in it; expected {expected} below {root} (set --data_root)")


def folder_items(
    root: Path,
    images: Path,
    labels: Path | None,
    expected: str,
    on_unpaired: OnUnpaired = raise_error,
    nested: bool = False,
    tails: tuple[str, str] = ("", ""),
) -> list[FileItem]:
    """The samples of a folder of images, paired with those of a folder of labels by name.

    Args:
        root: The data set's folder, for messages.
        images: Folder of images.
        labels: Folder of labels, or None where there are none.
        expected: The layout below `root`, for messages.
        on_unpaired: See `pair_files`.
        nested: Look into subfolders too; they become part of a sample's name.
        tails: What an image's and a label's name end with before the suffix; it is no part of the sample's name.

    Raises:
        DataError: A folder is missing or empty, or an image or a label has no partner.
    """
    for folder in (root, images, labels):
        if folder is not None:
            check_folder(root, folder, expected)
    found = list_files(images, nested=nested, tail=tails[0])
    if not found:
        raise empty_error(root, images, expected)
    if labels is None:
        return [FileItem(name, path, None) for name, path in found.items()]
    return pair_files(found, list_files(labels, LABEL_SUFFIXES, nested, tails[1]), labels, on_unpaired, tails[1])


def list_files(
    folder: Path, suffixes: Sequence[str] = IMAGE_SUFFIXES, nested: bool = False, tail: str = ""
) -> dict[str, Path]:
    """Files of `folder` by name without suffix (with `nested`, by relative path), sorted; hidden files are left out.

    With `tail` only files whose name ends with it before the suffix, by what comes before it.

    Raises:
        DataError: Two files share a name, the folder can't be listed, or a link leads nowhere or back.
    """
    found: dict[str, Path] = {}
    for path in _entries(folder, nested):
        stem, suffix = os.path.splitext(path.relative_to(folder).as_posix())
        if suffix.lower() not in suffixes or not stem.endswith(tail) or not path.is_file():
            continue
        name = stem.removesuffix(tail)
        if name in found:
            raise DataError(f"{found[name]} and {path} are both sample {name!r}; names must be unique, remove one")
        found[name] = path
    return dict(sorted(found.items()))


def list_folders(folder: Path) -> list[Path]:
    """Folders in `folder`, sorted; hidden ones are left out. Raises `DataError` if it can't be listed."""
    return [path for path in _entries(folder) if path.is_dir()]


def _entries(folder: Path, nested: bool = False, above: tuple[str, ...] = ()) -> Iterator[Path]:
    """What is in a folder, sorted, hidden entries left out; `above` are the real paths of the folders it was met in."""
    above = (*above, os.path.realpath(folder))
    if above[-1] in above[:-1]:
        raise DataError(f"{folder}: a link back to {above[-1]}, in which it lies; remove it")
    try:
        names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror}); check its permissions") from error
    for path in (folder / name for name in names):
        if path.is_symlink() and not os.path.exists(path):
            raise DataError(f"{path}: a link to {os.readlink(path)}, which is not there; mend the link or remove it")
        yield path
        if nested and path.is_dir():
            yield from _entries(path, nested, above)


def pair_files(
    images: dict[str, Path],
    labels: dict[str, Path],
    label_folder: Path,
    on_unpaired: OnUnpaired = raise_error,
    tail: str = "",
) -> list[FileItem]:
    """Image and label files with the same name -> items, in the order of the images.

    `on_unpaired` is called where an image has no label, and where a label has no image, with an error that names the
    first and counts them; where it returns, the complete samples are left.
    """
    missing = sorted(images.keys() - labels.keys())
    if missing:
        on_unpaired(_missing_error(label_folder / f"{missing[0]}{tail}.png", images[missing[0]], len(missing)))
    extra = sorted(labels.keys() - images.keys())
    if extra:
        remedy = f"add the image ({', '.join(IMAGE_SUFFIXES)}) or remove the label"
        on_unpaired(DataError(f"{labels[extra[0]]}: label without an image ({len(extra)} in all); {remedy}"))
    return [FileItem(name, image, labels[name]) for name, image in images.items() if name in labels]


def _missing_error(label: Path, image: Path, count: int) -> DataError:
    """The `DataError` for images without labels: the first label that is missing, and how many are."""
    others = sorted(path.name for path in label.parent.glob("*") if path.stem == label.stem)
    remedy = f"{others[0]} is there, but labels are PNG: save it as one" if others else "add it or remove the image"
    return DataError(f"{label}: label of {image} is missing ({count} missing in all); {remedy}")


def check_unique(items: list[FileItem]) -> list[FileItem]:
    """`items` themselves. Raises `DataError` if two of them share a name."""
    seen: dict[str, FileItem] = {}
    for item in items:
        if item.name in seen:
            both = f"{seen[item.name].image} and {item.image}"
            raise DataError(f"{both} are both sample {item.name!r}; names must be unique, remove one")
        seen[item.name] = item
    return items
