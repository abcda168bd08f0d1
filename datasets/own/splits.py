"""Which images are in which split: by folders that are called so, by what `classes.json` names, or by a hash."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from datasets.layout import list_folders
from datasets.own.settings import Settings
from datasets.reading import IMAGE_SUFFIXES
from utils.errors import DataError

# split -> names of its folder, in any case
FOLDER_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
UNCLEAR = ("dev", "eval", "evaluation", "holdout")  # validation to some, test to others
VAL_SHARE = 0.2


def split_folders(folder: Path, settings: Settings) -> dict[str, str]:
    """Split -> name of its folder in `folder`, as far as there are such.

    Raises:
        DataError: Two folders are called like one split.
    """
    found: dict[str, str] = {}
    for name in (path.name for path in list_folders(folder)):
        for split, known in FOLDER_NAMES.items():
            if name.casefold() in known:
                if split in found:
                    raise DataError(
                        f"{folder}: {found[split]} and {name} are both called like {split}; rename one, or name the"
                        f" folders in {settings.file}: {_example(found | {split: name})}"
                    )
                found[split] = name
    return {split: found[split] for split in FOLDER_NAMES if split in found}


def check_clear(folder: Path, splits: Mapping[str, str], settings: Settings) -> None:
    """Raises `DataError` where `splits` lacks train or val, and a folder may be a split or may not."""
    unclear = [path.name for path in list_folders(folder) if path.name.casefold() in UNCLEAR]
    if unclear and not {"train", "val"} <= splits.keys():
        raise DataError(
            f"{folder}: is {unclear[0]} a split, and which? Name the folders of all splits in {settings.file}:"
            f" {_example(splits)}"
        )


def _example(splits: Mapping[str, str]) -> str:
    """How `classes.json` names splits; three dots where a folder isn't known."""
    return f'"splits": {json.dumps({"train": "...", "val": "..."} | dict(splits))}'


def describe_folders(images: Mapping[str, str], masks: Mapping[str, str], settings: Settings) -> list[str]:
    """What is to be said where folders of splits (split -> name) aren't called like the splits."""
    if all(split == name for split, name in images.items()):
        return []
    rows = [_arrow(split, name, masks.get(split, name), settings) for split, name in images.items()]
    return [f"splits are {', '.join(rows)}"]


def describe_rest(images: Mapping[str, str], settings: Settings) -> list[str]:
    """What is to be said of images that lie in no folder of a split."""
    folder, around = settings.image_folder, (settings.mask_folder, *settings.mask_folder.parents)
    others = [path for path in list_folders(folder) if path.name not in images.values() and path not in around]
    rest = [f"{folder.name}/{path.name}" for path in others]
    if loose := sum(path.suffix.lower() in IMAGE_SUFFIXES for path in folder.iterdir()):
        rest.append(f"{loose} images right in {folder.name}")
    return [f"in no split, not used: {', '.join(rest)}"] if rest else []


def _arrow(split: str, images: str, masks: str, settings: Settings) -> str:
    other = "" if images == masks else f" and {settings.mask_folder.name}/{masks}"
    return f"{settings.image_folder.name}/{images}{other} -> {split}"


def is_list(value: str, settings: Settings) -> bool:
    """True if a split in `classes.json` is a list file, not a folder."""
    return value.endswith(".txt") or (settings.root / value).is_file()


def listed(path: Path, split: str, images: Mapping[str, str], settings: Settings) -> list[str]:
    """The samples that a list file names, one a line, with or without the image's suffix, in the order of `images`.

    Raises:
        DataError: The file can't be read, is empty, or names an image that is not there, or one twice.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise DataError(f"{path}: cannot be read ({reason}); {settings.file} names it for {split}") from error
    known = _keys(images, settings)
    names: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if line and (name := known.get(line)) is None:
            raise DataError(
                f"{path}: line {number}: no image {line!r} below {settings.image_folder} (one name a line, with or"
                f" without {'/'.join(IMAGE_SUFFIXES[:2])}); mend the list"
            )
        if line and names.setdefault(name, number) != number:
            raise DataError(f"{path}: line {number}: {line!r} is in line {names[name]} already; remove one")
    if not names:
        raise DataError(f"{path}: no name in it; {settings.file} names it for {split}")
    return [name for name in images if name in names]


def _keys(images: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """What may stand in a list -> sample: its name, and its file below the image folder with and without suffix."""
    files = {name: Path(path).relative_to(settings.image_folder) for name, path in images.items()}
    keys = {path.as_posix(): name for name, path in files.items()}
    keys |= {path.with_suffix("").as_posix(): name for name, path in files.items()}
    return keys | {name: name for name in images}


def val_names(names: Iterable[str]) -> set[str]:
    """The samples of a pool of two or more that are validated on: about a fifth, by a hash of each name."""
    hashes = {name: _fraction(name) for name in names}
    below = sum(value < VAL_SHARE for value in hashes.values())
    count = min(max(below, 1), len(hashes) - 1)  # neither side is empty
    return set(sorted(hashes, key=lambda name: hashes[name])[:count])


def _fraction(name: str) -> float:
    """A number in [0, 1) that depends on the name only."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
    return int(digest[:8], 16) / 2**32
