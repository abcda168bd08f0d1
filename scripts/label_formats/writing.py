"""Pairs of photo and image -> a `folder` data set, complete or absent."""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from datasets.reading import read_image
from scripts.label_formats.labelled import BACKGROUND
from scripts.label_formats.pairing import Pair
from utils.constants import IGNORE_LABEL
from utils.errors import DataError
from utils.files import write_atomically, write_json
from utils.logging import Progress
from utils.threads import parallel_map

MOST_CLASSES = IGNORE_LABEL - 1  # besides background, which is 0


@dataclass
class Drawn:
    """What was drawn: shapes of each id, how many of them cover no pixel, and pixels of each id (256,) int64."""

    shapes: Counter[int] = field(default_factory=Counter)
    empty: int = 0
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))

    def add(self, other: "Drawn") -> None:
        """Add those of another photo."""
        self.shapes += other.shapes
        self.empty += other.empty
        self.pixels += other.pixels


def class_ids(names: list[str]) -> dict[str, int]:
    """Class name -> id: 1, 2, ... in the order of the names, 0 for background.

    Raises:
        DataError: There are no classes, or too many.
    """
    classes = [name for name in names if name not in BACKGROUND]
    if not classes:
        raise DataError("the labels name no class besides background; check --labels, or label something first")
    if len(classes) > MOST_CLASSES:
        raise DataError(f"the labels have {len(classes)} classes besides background, {MOST_CLASSES} fit; merge some")
    return dict.fromkeys(BACKGROUND, 0) | {name: number for number, name in enumerate(classes, 1)}


def class_rows(names: list[str], ignore_background: bool) -> list[dict[str, object]]:
    """The rows of `classes.json`. Background is one if uncovered pixels or shapes may hold it."""
    rows = {number: name for name, number in reversed(class_ids(names).items())}
    if ignore_background and not set(BACKGROUND) & set(names):
        del rows[0]
    return [{"name": BACKGROUND[0] if number == 0 else rows[number], "id": number} for number in sorted(rows)]


def write_folder(pairs: list[Pair], names: list[str], ignore_background: bool, out: Path) -> Drawn:
    """Draw all masks and put the images beside them; `out` appears when all is done.

    Raises:
        DataError: A shape can't be drawn.
        EnvironmentFault: pycocotools is needed and missing.
    """
    ids = class_ids(names)
    total = Drawn()
    with _appearing(out) as folder:
        write = partial(_write_pair, folder, ids, IGNORE_LABEL if ignore_background else 0)
        for drawn in Progress(parallel_map(write, pairs), "masks", True, total=len(pairs)):
            total.add(drawn)
        data = {"classes": class_rows(names, ignore_background), "ignore": [IGNORE_LABEL]}
        write_json(folder / "classes.json", data)
    return total


def _write_pair(folder: Path, ids: dict[str, int], background: int, pair: Pair) -> Drawn:
    mask, drawn = draw_mask(pair, ids, background)
    place = Path(pair.split or "", pair.name)
    target = folder / "masks" / place.parent / f"{place.name}.png"
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(target)
    target = folder / "images" / place.parent / f"{place.name}{pair.suffix}"
    target.parent.mkdir(parents=True, exist_ok=True)
    _put_image(pair, target)
    return drawn


def draw_mask(pair: Pair, ids: dict[str, int], background: int) -> tuple[np.ndarray, Drawn]:
    """Ids (H,W) uint8, later shapes over earlier ones. Raises `DataError`."""
    mask, drawn = np.full(pair.size, background, np.uint8), Drawn()
    for shape in pair.photo.shapes:
        value = IGNORE_LABEL if shape.label is None else ids[shape.label]
        try:
            top, left, pixels = shape.outline.cover(*pair.size)
        except ValueError as error:
            raise DataError(f"{shape.where} on {pair.photo.file}: {error}") from error
        mask[top : top + pixels.shape[0], left : left + pixels.shape[1]][pixels] = value
        drawn.shapes[value] += 1
        drawn.empty += not pixels.any()
    drawn.pixels += np.bincount(mask.ravel(), minlength=256)
    return mask, drawn


def _put_image(pair: Pair, target: Path) -> None:
    """A hard link where the file system lets one, else a copy; upright pixels where labels were drawn on those."""
    if pair.image is None:
        write_atomically(target, lambda file: file.write(pair.photo.embedded()))
    elif pair.turn:
        Image.fromarray(read_image(pair.image)).save(target)
    else:
        source = pair.image.resolve()
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)


@contextmanager
def _appearing(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its place if the block succeeds and vanishes if it doesn't."""
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".tmp", dir=out.parent))
    try:
        yield folder
        mask = os.umask(0)
        os.umask(mask)
        folder.chmod(0o777 & ~mask)
        folder.rename(out)  # over an empty folder, too
    finally:
        shutil.rmtree(folder, ignore_errors=True)
