"""Finding samples below a root: checked splits and folders, listed files, images paired with labels."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from datasets.file_table import FileItem, FileTable
from datasets.pairing import OnUnpaired, pair_files, raise_error
from datasets.reading import IMAGE_SUFFIXES
from utils.errors import DataError, OptionError

LABEL_SUFFIXES = (".png",)


def check_split(dataset: str, split: str, allowed: Sequence[str]) -> None:
    """Raises `OptionError` naming the allowed splits unless `split` is one of them."""
    if split not in allowed:
        raise OptionError(f"data set {dataset} has no split {split!r}; choose one of {', '.join(allowed)}")


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
) -> FileTable:
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
        return FileTable(found, found.values())
    return pair_files(found, list_files(labels, LABEL_SUFFIXES, nested, tails[1]), labels, on_unpaired, tails[1])


def list_files(
    folder: Path, suffixes: Sequence[str] = IMAGE_SUFFIXES, nested: bool = False, tail: str = ""
) -> dict[str, str]:
    """Paths of files in `folder` by name without suffix (with `nested`, by relative path), sorted.

    Hidden files are left out. With `tail` only files whose name ends with it before the suffix, by what comes before.

    Raises:
        DataError: Two files share a name, one has none before the tail, the folder can't be listed, or a link leads
            nowhere or back.
    """
    found: dict[str, str] = {}
    for place, entry in _entries(folder, nested):
        stem, suffix = os.path.splitext(place)
        if suffix.lower() not in suffixes or not stem.endswith(tail) or not entry.is_file():
            continue
        name = stem.removesuffix(tail)
        if not os.path.basename(name):
            raise DataError(f"{entry.path}: has no name before {tail!r}; rename or remove it")
        if name in found:
            both = f"{found[name]} and {entry.path}"
            raise DataError(f"{both} are both sample {name!r}; names must be unique, remove or rename one")
        found[name] = entry.path
    return dict(sorted(found.items()))


def list_folders(folder: Path) -> list[Path]:
    """Folders in `folder`, sorted; hidden ones are left out. Raises `DataError` if it can't be listed."""
    return [Path(entry.path) for _, entry in _entries(folder) if entry.is_dir()]


def _entries(
    folder: str | Path, nested: bool = False, place: str = "", above: tuple[str, ...] = ()
) -> Iterator[tuple[str, os.DirEntry]]:
    """What is in a folder, sorted, hidden entries left out, each with its path relative to the first folder.

    What an entry is comes with the listing: only links are looked up. `place` is the folder's own path, with a slash;
    `above` are the real paths of the folders that it was met in.
    """
    above = (*above, os.path.realpath(folder))
    if above[-1] in above[:-1]:
        raise DataError(f"{folder}: a link back to {above[-1]}, in which it lies; remove it")
    try:
        with os.scandir(folder) as listed:
            visible = sorted(
                (entry for entry in listed if not entry.name.startswith(".")), key=lambda entry: entry.name
            )
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror}); check its permissions") from error
    for entry in visible:
        if entry.is_symlink() and not _leads_somewhere(entry):
            target = os.readlink(entry.path)
            raise DataError(f"{entry.path}: a link to {target}, which is not there; mend the link or remove it")
        yield f"{place}{entry.name}", entry
        if nested and entry.is_dir():
            yield from _entries(entry.path, nested, f"{place}{entry.name}/", above)


def _leads_somewhere(entry: os.DirEntry) -> bool:
    try:
        entry.stat()  # is kept in the entry
    except OSError:
        return False
    return True


def check_unique(items: Iterable[FileItem]) -> FileTable:
    """The table of `items`. Raises `DataError` if two of them share a name."""
    table = FileTable.of(items)
    if len(set(table.names)) == len(table):
        return table
    name = next(name for name, count in Counter(table.names).items() if count > 1)
    first, second = [item.image for item in table if item.name == name][:2]
    if first == second:
        raise DataError(f"{first}: is listed twice, or in two splits; remove one")
    raise DataError(f"{first} and {second} are both sample {name!r}; names must be unique, remove or rename one")
