"""Are splits paired, as large as their authors say, and apart from each other?"""

import os
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence

from datasets.base import FileSplit, Split
from datasets.checks.findings import Finding
from datasets.checks.inspection import ImageFacts
from utils.errors import DataError
from utils.files import file_sha256
from utils.threads import parallel_map

MOST_FILES = 20_000  # of the training split, whose sizes are compared with those of the other split's files
SECONDS = 10


def check_pairs(split: Split, unpaired: Sequence[DataError]) -> Iterator[Finding]:
    """Images without labels and labels without images, as the split's layout reported them."""
    for fault in unpaired:
        what = f"{split.split}: images and labels don't pair up"
        yield Finding("error", what, (str(fault),), "add what is missing, or remove its partner")


def check_count(split: Split, published: int | None, labels_needed: bool) -> Finding:
    """The number of samples, which the authors may have `published`, and whether the labels are there."""
    what = f"{split.split}: {len(split)} images{' and their labels' if split.has_labels else ', no labels'}"
    if labels_needed and not split.has_labels:
        return Finding("error", what, remedy="name a labelled split with --train_split and --val_split", exit_code=2)
    if published is None or published == len(split):
        return Finding("ok", what + (", as published" if published else ""))
    remedy = "unpack the archive again; or go on, with other data than the papers'"
    return Finding("warning", f"{what}; published are {published}", remedy=remedy)


def check_overlap(
    train: Split, read: Sequence[ImageFacts], other: Split, others: Sequence[ImageFacts], full: bool
) -> Finding:
    """Images of another split that are training images too, by content; see `find_duplicates`."""
    pairs = find_duplicates(train, read, others, full)
    if not pairs:
        return Finding("ok", f"{other.split}: no training image found among its {len(others)} images read")
    what = f"{other.split}: {len(pairs)} of {len(others)} images read are training images too"
    remedy = "the score will be too good: remove them from one side, or change --train_split, --val_split"
    return Finding("warning", what, tuple(f"{a} = {b}" for a, b in pairs), remedy)


def find_duplicates(
    train: Split, read: Sequence[ImageFacts], others: Sequence[ImageFacts], full: bool
) -> list[tuple[str, str]]:
    """(other image, training image) of equal content.

    With `full` or without files the images that were `read` are compared. Otherwise all training files are (at most
    `MOST_FILES`), and only those are opened whose size is that of one of `others`, for `SECONDS` at most.
    """
    images = {facts.image: facts.content for facts in read}
    if not full and isinstance(train, FileSplit):
        sizes = {os.path.getsize(facts.image) for facts in others if facts.content}
        step = -(-len(train) // MOST_FILES)
        near = [item.image for item in train.items[::step] if _size(item.image) in sizes]
        unread = [str(path) for path in near if str(path) not in images]
        end = time.monotonic() + SECONDS
        images |= dict(zip(unread, parallel_map(lambda path: _content(path, end), unread), strict=True))
    by_content = defaultdict(list)
    for image, content in images.items():
        by_content[content].append(image)
    return [
        (facts.image, by_content[facts.content][0]) for facts in others if facts.content and by_content[facts.content]
    ]


def _size(path: os.PathLike) -> int | None:
    try:
        return os.path.getsize(path)
    except OSError:
        return None


def _content(path: str, end: float) -> str | None:
    try:
        return file_sha256(path) if time.monotonic() < end else None
    except OSError:
        return None
