"""Do crop, tile and class-uniform sampling fit the images? Are training images validated on?"""

import os
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from datasets.base import FileSplit, Split
from datasets.checks.inspection import SampleFacts
from scripts.doctor_checks.findings import Finding, Visit
from utils.files import file_sha256

MUCH_PADDING = 0.3
MOST_FILES = 20_000  # of the training split, whose sizes are compared with those of the other split's files
SECONDS = 10
SCALES = 33


def check_crops(visit: Visit) -> Iterator[Finding]:
    """The crop's padding and the tile of class-uniform sampling."""
    data, augment = visit.config.data, visit.config.augment
    sizes = [facts.size for facts in visit.facts.get(data.train_split, []) if facts.size]
    if not sizes:
        return
    crop = augment.crop_size if isinstance(augment.crop_size, tuple) else (augment.crop_size,) * 2
    share = padded_share(sizes, crop, augment.scale_min, augment.scale_max, augment.pre_size)
    what = f"--crop_size {crop[0]},{crop[1]}: on average {share:.0%} of a crop is padding, which trains nothing"
    short = int(np.median([min(size) for size in sizes]))
    remedy = f"--crop_size {max(32, short // 32 * 32)} is about the images' short side ({short})"
    yield Finding("warning", what, remedy=remedy) if share > MUCH_PADDING else Finding("ok", what)
    if data.class_uniform_pct == 0:
        return
    tile = data.class_uniform_tile
    small = sum(max(size) <= tile for size in sizes)
    if small:
        what = f"--class_uniform_tile {tile}: {small} of {len(sizes)} images are no larger and become one tile each"
        remedy = f"--class_uniform_tile {max(1, short)} gives finer places to centre crops on" if short < tile else ""
        yield Finding("note", what, remedy=remedy)
    else:
        yield Finding("ok", f"--class_uniform_tile {tile}: fits into the images")


def padded_share(
    sizes: list[tuple[int, int]], crop: tuple[int, int], scale_min: float, scale_max: float, pre_size: int | None
) -> float:
    """Expected share of a crop's pixels that are padding, over images (height, width) and uniform random scales."""
    shares = []
    for height, width in sizes:
        base = pre_size / min(height, width) if pre_size else 1.0
        for scale in base * np.linspace(scale_min, scale_max, SCALES):
            shares.append(1 - min(1, scale * height / crop[0]) * min(1, scale * width / crop[1]))
    return float(np.mean(shares))


def check_duplicates(visit: Visit) -> Iterator[Finding]:
    """Images that are trained on and validated (or tested) on as well, by content."""
    if visit.train is None:
        return
    for name in visit.splits:
        if name == visit.train.split or not visit.facts[name]:
            continue
        pairs = find_duplicates(visit.train, visit.facts[visit.train.split], visit.facts[name], visit.full)
        if pairs:
            what = f"{name}: {len(pairs)} of {len(visit.facts[name])} images read are training images too"
            remedy = "the score will be too good: remove them from one side, or change --train_split, --val_split"
            yield Finding("warning", what, tuple(f"{a} = {b}" for a, b in pairs), remedy)
        else:
            yield Finding("ok", f"{name}: no training image found among its {len(visit.facts[name])} images read")


def find_duplicates(
    train: Split, read: list[SampleFacts], others: list[SampleFacts], full: bool
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
        with ThreadPoolExecutor(8) as pool:
            images |= dict(zip(unread, pool.map(lambda path: _content(path, end), unread), strict=True))
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
