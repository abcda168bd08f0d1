"""A look at a sample's files: headers and digests of both, and what the label holds."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datasets.base import FileSplit, Split
from datasets.decoding import header_of, open_picture, read_header, unreadable
from utils.constants import IGNORE_LABEL
from utils.errors import DataError
from utils.files import file_sha256

EDGE = 2**16  # bytes of an image file's start and end


def look_at(split: Split, index: int) -> dict:
    """What an index keeps of a sample, by name; `fault` is the first thing that is wrong, in one line, or empty.

    An image's digest is that of its number of bytes, its first and its last 64 KiB: on a first start, whole images
    would take minutes. A label, which is read anyway, counts as a whole.
    """
    row, faults, files = {}, [], split.files(index)
    for look in (_look_at_image, _look_at_label):
        try:
            look(split, index, files, row)
        except DataError as error:
            faults.append(str(error))
    return row | {"fault": faults[0] if faults else ""}


def _look_at_image(split: Split, index: int, files: Sequence[Path], row: dict) -> None:
    if not files:
        return
    path = files[0]
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            edges = file.read(EDGE)
            file.seek(max(EDGE, size - EDGE))
            edges += file.read(EDGE)
            row["image_digest"] = _number(hashlib.sha256(b"%d " % size + edges).hexdigest())
            file.seek(0)
            with open_picture(file, path) as picture:
                header = header_of(picture)
            row["image_size"], row["image_mode"], row["orientation"] = header.size, header.mode, header.orientation
    except OSError as error:
        raise unreadable(path, error) from error


def _look_at_label(split: Split, index: int, files: Sequence[Path], row: dict) -> None:
    """The file, then what it decodes to: original ids, their pixels, and (height, width)."""
    for path in files[1:]:
        header = read_header(path)
        row["label_size"], row["label_mode"] = header.size, header.mode
        try:
            row["label_digest"] = _number(file_sha256(path))
        except OSError as error:
            raise unreadable(path, error) from error
    if not split.has_labels:
        return
    if isinstance(split, FileSplit):
        label, names = split.load_label_ids(index), np.arange(256)
    else:
        label, names = split.load_label(index), np.full(256, IGNORE_LABEL)
        names[: split.classes.num_classes] = split.classes.label_ids
        row["label_digest"] = _number(hashlib.sha256(np.ascontiguousarray(label)).hexdigest())
    counts = np.bincount(label.ravel(), minlength=256)
    found = np.flatnonzero(counts)
    row["ids"], row["pixels"], row["label_size"] = names[found], counts[found], label.shape


def _number(digest: str) -> int:
    return int(digest[:16], 16)
