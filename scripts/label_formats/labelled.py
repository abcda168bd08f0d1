"""What every reader of labels returns: classes, photos with their shapes, and what was left out."""

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from scripts.label_formats.outlines import Outline
from utils.errors import DataError

BACKGROUND = ("background", "_background_")  # class names that mean what no shape covers; the second is labelme's
SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
BOX_ONLY = "annotations that are boxes without a segmentation left out"  # a note
IGNORED = None  # the class of a shape whose pixels become 255


@dataclass(frozen=True)
class Shape:
    """One annotation: the class it names (or `IGNORED`), its outline, and where it stands, for messages."""

    label: str | None
    outline: Outline
    where: str


@dataclass
class Photo:
    """One labelled image.

    Attributes:
        file: Its path as the labels name it; the suffix doesn't count.
        near: Folder below the images in which it is looked for first, as its labels lie in a folder of that name.
        split: `train`, `val` or `test` where the labels say so.
        size: (height, width) that the labels were drawn on; None where they don't say.
        where: The file of its labels, for messages.
        shapes: In the order in which they are drawn.
        embedded: Gives the image file's bytes, where the labels hold it; None: they don't.
    """

    file: str
    near: str
    split: str | None
    size: tuple[int, int] | None
    where: str
    shapes: list[Shape] = field(default_factory=list)
    embedded: Callable[[], bytes] | None = None


@dataclass
class Labels:
    """What a reader found: class names in the order of their ids, photos, and what a user should know, with counts."""

    names: list[str]
    photos: list[Photo]
    notes: Counter[str] = field(default_factory=Counter)


def split_of(name: str) -> str | None:
    """The split that a folder called train, Validation, val2017, ... is; None for other names."""
    return SPLITS.get(re.sub(r"\d+$", "", name.lower()))


def path_parts(text: str) -> list[str]:
    """Folders and name of a path in a label file, of any system, without what leads up."""
    return [part for part in text.replace("\\", "/").split("/") if part not in ("", ".", "..")]


def read_object(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object. Raises `DataError`."""
    data = parse_json(path, read_text(path))
    if not isinstance(data, dict):
        raise DataError(f"{path}: holds no JSON object, so not labels of this format; check --format and --labels")
    return data


def parse_json(path: Path, text: str) -> Any:
    """The value of a JSON text. Raises `DataError` naming `path`."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON ({error}); export the labels again") from error


def read_text(path: Path) -> str:
    """A text file in UTF-8. Raises `DataError`."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check --labels") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not text in UTF-8 ({error}); export the labels again") from error


def label_files(root: Path, pattern: str, what: str) -> list[Path]:
    """Files below a folder that match, sorted. Raises `DataError` if there is none."""
    found = sorted(path for path in root.rglob(pattern) if path.is_file() and not path.name.startswith("."))
    if not found:
        raise DataError(f"{root}: no {what} in it; check --format and --labels")
    return found


def as_points(values: Any, where: str, least: int) -> np.ndarray:
    """[x0, y0, x1, y1, ...] or [[x0, y0], ...] -> (N,2) float64, N >= `least`. Raises `DataError`."""
    try:
        points = np.asarray(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        points = np.empty(0)
    flat = points.ndim == 1 and len(points) % 2 == 0
    paired = points.ndim == 2 and points.shape[1] == 2
    if not (flat or paired) or not np.isfinite(points).all() or points.size < 2 * least:
        raise DataError(f"{where}: its points must be {least} or more pairs of numbers, given {shown(values)}; mend it")
    return points.reshape(-1, 2)


def as_size(height: Any, width: Any, where: str) -> tuple[int, int]:
    """(height, width) in pixels. Raises `DataError`."""
    if not all(isinstance(side, (int, float)) and 1 <= side < 1e9 and side == int(side) for side in (height, width)):
        raise DataError(f"{where}: height {shown(height)} and width {shown(width)} must be pixels; export again")
    return int(height), int(width)


def shown(value: Any) -> str:
    """A value from a file, short enough for a message."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def quoted(names: Sequence[str]) -> str:
    """Class names for a message, the first few."""
    return ", ".join(map(str, names[:8])) + (", ..." if len(names) > 8 else "")
