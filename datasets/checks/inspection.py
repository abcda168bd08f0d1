"""What is in a sample's files, and what is wrong with them: nothing is raised, everything is written down."""

import hashlib
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from datasets.base import FileSplit, Split
from datasets.reading import FORMATS, read_label
from utils.errors import DataError
from utils.files import file_sha256
from utils.logging import Progress
from utils.threads import parallel_map


@dataclass(frozen=True)
class Fault:
    """Something wrong with a file.

    Attributes:
        kind: `image` or `label` (can't be used), `ids` (unknown label ids), `size` (image and label differ).
        file: The file, or the sample's name where it is no file.
        text: What is wrong, in one line that names the file.
    """

    kind: str
    file: str
    text: str


@dataclass
class SampleFacts:
    """What `inspect_sample` saw.

    Attributes:
        index: Of the sample in its split.
        image: The image file, or the sample's name.
        label: The label file; None where there is none.
        size: (height, width) of the image.
        mode: Pillow's mode of the image file.
        label_mode: The same of the label file.
        content: SHA-256 (hex) of the image file, or of the image where it is no file.
        ids: Pixels of each original label id, int64 (256,).
        faults: What is wrong.
    """

    index: int
    image: str
    label: str | None = None
    size: tuple[int, int] | None = None
    mode: str | None = None
    label_mode: str | None = None
    content: str | None = None
    ids: np.ndarray | None = None
    faults: list[Fault] = field(default_factory=list)


def inspect_sample(split: Split, index: int) -> SampleFacts:
    """Load a sample as training does, and note down all there is to know about it."""
    item = split.items[index] if isinstance(split, FileSplit) else None
    name = split.names[index]
    facts = SampleFacts(index, str(item.image) if item else name, str(item.label) if item and item.label else None)
    try:
        image = split.load_image(index)
        facts.size = image.shape[:2]
        facts.content = file_sha256(item.image) if item else hashlib.sha256(image).hexdigest()
    except DataError as error:
        facts.faults.append(Fault("image", facts.image, str(error)))
    if item:
        facts.mode, facts.label_mode = _mode(item.image), _mode(item.label)
    if split.has_labels:
        _inspect_label(split, index, item.label if item else None, facts)
    return facts


def _inspect_label(split: Split, index: int, path: Path | None, facts: SampleFacts) -> None:
    name, facts.ids = facts.label or split.names[index], _read_ids(path)
    try:
        label = split.load_label(index)
    except DataError as error:
        unknown = [] if facts.ids is None else unknown_ids(split, facts.ids)
        text = f"{name}: " + ", ".join(f"id {i} ({facts.ids[i]} pixels)" for i in unknown) if unknown else str(error)
        facts.faults.append(Fault("ids" if unknown else "label", name, text))
        return
    if facts.ids is None:  # the label is no file of ids: count what became of it
        facts.ids = np.zeros(256, np.int64)
        facts.ids[list(split.classes.label_ids)] = _count(label)[: split.classes.num_classes]
    if facts.size and label.shape != tuple(facts.size):
        (height, width), (rows, columns) = facts.size, label.shape
        text = f"{name}: the label is {columns}x{rows} pixels, the image {width}x{height}"
        facts.faults.append(Fault("size", name, text))


def _read_ids(path: Path | None) -> np.ndarray | None:
    """Pixels of each id in a label file, (256,); None without a file that can be read as ids."""
    try:
        return _count(read_label(path)) if path else None
    except DataError:
        return None


def unknown_ids(split: Split, counts: np.ndarray) -> list[int]:
    """Ids that occur in `counts` (256,) and that the data set's class table doesn't know."""
    return [i for i in np.flatnonzero(counts).tolist() if i not in split.classes.id_to_train]


def _count(ids: np.ndarray) -> np.ndarray:
    return np.bincount(ids.ravel(), minlength=256)


def _mode(path: Path | None) -> str | None:
    try:
        with Image.open(path, formats=FORMATS) as picture:  # reads the header only
            return picture.mode
    except Exception:  # no path, or damaged: then reading the content has said so
        return None


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


def inspect_samples(
    jobs: Sequence[tuple[Split, int]], seconds: float | None = None, progress: bool = False
) -> list[SampleFacts | None]:
    """Facts of each (split, index), in parallel; None for those that weren't begun after `seconds`."""
    end = None if seconds is None else time.monotonic() + seconds

    def look(job: tuple[Split, int]) -> SampleFacts | None:
        return None if end is not None and time.monotonic() > end else inspect_sample(*job)

    return list(Progress(parallel_map(look, jobs), "samples", progress, total=len(jobs)))
