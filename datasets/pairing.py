"""Images and labels that belong together by their names."""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from unicodedata import normalize

from datasets.file_table import FileTable
from datasets.reading import IMAGE_SUFFIXES
from utils.errors import DataError

OnUnpaired = Callable[[DataError], None]  # told of images without labels and of labels without images
REMEDY = "add it or remove the image"


def raise_error(error: DataError) -> None:
    """Raises `error`: what an unpaired file is to all but tools that look at damaged data."""
    raise error


def match_names(images: Iterable[str], labels: Iterable[str]) -> dict[str, str]:
    """Name of an image -> name of its label, in the order of the images, as far as there are pairs.

    Names that differ in Unicode's normal form alone (macOS decomposes, others don't) are one.
    """
    labels = set(labels)
    matched = {name: name for name in images if name in labels}
    free = labels - matched.keys()
    if not free or len(matched) == len(images := list(images)):
        return matched
    forms = {normalize("NFC", label): label for label in sorted(free)}
    return {
        name: label
        for name in images
        if (label := matched.get(name) or forms.pop(normalize("NFC", name), None)) is not None
    }


def pair_files(
    images: Mapping[str, str],
    labels: Mapping[str, str],
    label_folder: Path,
    on_unpaired: OnUnpaired = raise_error,
    tail: str = "",
    head: str = "",
    remedy: str = REMEDY,
) -> FileTable:
    """Image and label files with the same name -> samples, in the order of the images.

    Args:
        images: Paths by name.
        labels: Paths by name.
        label_folder: Folder of the labels, for messages.
        on_unpaired: Called where an image has no label, and where a label has no image, with an error that names the
            first and counts them; where it returns, the complete samples are left.
        tail: What a label's file name ends with before the suffix.
        head: What it begins with.
        remedy: What to do about an image without a label.
    """
    matched = match_names(images, labels)
    missing = sorted(images.keys() - matched.keys())
    extra = sorted(labels.keys() - matched.values())
    if missing:
        name = PurePosixPath(missing[0])
        path = label_folder / name.parent / f"{head}{name.name}{tail}.png"
        near = _similar_label(path, name.name, {os.path.basename(labels[label]) for label in matched.values()})
        text = f"{path}: label of {images[missing[0]]} is missing ({len(missing)} missing in all); {near or remedy}"
        on_unpaired(DataError(text))
    if extra:
        what = f"add the image ({', '.join(IMAGE_SUFFIXES)}) or remove the label"
        on_unpaired(DataError(f"{labels[extra[0]]}: label without an image ({len(extra)} in all); {what}"))
    return FileTable(matched, map(images.__getitem__, matched), map(labels.__getitem__, matched.values()))


def _similar_label(label: Path, name: str, taken: set[str]) -> str:
    """What to do with a file beside a missing label that looks like it; empty where none does."""
    files = sorted(path for path in label.parent.glob("*") if path.name not in taken)
    for path in files:
        if path.stem == label.stem:
            return f"{path.name} is there, but labels are PNG: save it as one"
    whole = re.compile(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])")  # 7 is no part of 17
    near = [path for path in files if whole.search(path.name)]
    if not near:
        return ""
    mend = "rename it to" if near[0].suffix.lower() == ".png" else "save it as PNG:"
    return f"{near[0].name} looks like it, {mend} {label.name}"
