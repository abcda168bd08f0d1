"""Can an image be decoded, and what is its content? Nothing is raised, everything is written down."""

import hashlib
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datasets.base import FileSplit, Split
from utils.errors import DataError
from utils.files import file_sha256
from utils.logging import Progress
from utils.threads import parallel_map


@dataclass(frozen=True)
class ImageFacts:
    """What `inspect_image` saw.

    Attributes:
        index: Of the sample in its split.
        image: The image file, or the sample's name.
        content: SHA-256 (hex) of the file, or of the pixels where it is no file; None where it can't be read.
        fault: What is wrong, in one line that names the file; empty where nothing is.
    """

    index: int
    image: str
    content: str | None = None
    fault: str = ""


def inspect_image(split: Split, index: int) -> ImageFacts:
    """Load an image as training does."""
    path = split.items[index].image if isinstance(split, FileSplit) else None
    name = str(path) if path else split.names[index]
    try:
        image = split.load_image(index)
    except DataError as error:
        return ImageFacts(index, name, fault=str(error))
    return ImageFacts(index, name, file_sha256(path) if path else hashlib.sha256(image).hexdigest())


def choose_samples(split: Split, count: int, seed: int) -> list[int]:
    """At most `count` indices in random order, spread evenly over the folders that the samples lie in."""
    groups = defaultdict(list)
    for index, name in enumerate(split.names):
        place = split.items[index].image if isinstance(split, FileSplit) else Path(name)
        groups[place.parent].append(index)
    rng = np.random.default_rng(seed)
    # a sample's turn is its place in its shuffled group; groups of one turn come in random order
    turns = [
        (turn, rng.random(), index) for group in groups.values() for turn, index in enumerate(rng.permutation(group))
    ]
    return [int(index) for _, _, index in sorted(turns)[:count]]


def inspect_images(
    jobs: Sequence[tuple[Split, int]], seconds: float | None = None, progress: bool = False
) -> list[ImageFacts | None]:
    """Facts of each (split, index), in parallel; None for those that weren't begun after `seconds`."""
    end = None if seconds is None else time.monotonic() + seconds

    def look(job: tuple[Split, int]) -> ImageFacts | None:
        return None if end is not None and time.monotonic() > end else inspect_image(*job)

    return list(Progress(parallel_map(look, jobs), "images", progress, total=len(jobs)))
