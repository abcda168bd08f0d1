"""labelme: a JSON file beside (or named like) each photo."""

import base64
import binascii
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from scripts.label_formats.labelled import (
    IGNORED,
    Labels,
    Photo,
    Shape,
    as_points,
    as_size,
    label_files,
    quoted,
    read_object,
    read_text,
    shown,
    split_of,
)
from scripts.label_formats.outlines import Bitmap, Disc, Outline, Polygons
from utils.errors import DataError

IGNORE_NAME = "__ignore__"  # labelme's own
NO_AREA = ("point", "points", "line", "linestrip")
KNOWN = ("polygon", "rectangle", "oriented_rectangle", "circle", "mask")


def read(path: Path) -> Labels:
    """A file or a folder of them; classes in the order of its labels.txt, else by name.

    Raises:
        DataError: A file is malformed, or a label isn't in labels.txt.
    """
    notes: Counter[str] = Counter()
    files = label_files(path, "*.json", "JSON file") if path.is_dir() else [path]
    root = path if path.is_dir() else path.parent
    photos = [_read_photo(file, root, notes) for file in files]
    used = {shape.label: shape for photo in reversed(photos) for shape in reversed(photo.shapes)}
    used.pop(IGNORED, None)
    listing = root / "labels.txt"
    if not listing.is_file():
        return Labels(sorted(used), photos, notes)
    lines = [line.strip() for line in read_text(listing).splitlines()]
    names = list(dict.fromkeys(line for line in lines if line and line != IGNORE_NAME))
    for label, shape in used.items():
        if label not in names:
            raise DataError(f"{shape.where}: unknown label {label!r}; {listing} has {quoted(names)}; add it there")
    return Labels(names, photos, notes)


def _read_photo(file: Path, root: Path, notes: Counter[str]) -> Photo:
    data = read_object(file)
    name, rows = data.get("imagePath"), data.get("shapes")
    if not isinstance(name, str) or not name or not isinstance(rows, list):
        raise DataError(f"{file}: has no imagePath and shapes, so it isn't labelme's; move it away or see --format")
    size = None
    if data.get("imageHeight") is not None and data.get("imageWidth") is not None:
        size = as_size(data["imageHeight"], data["imageWidth"], f"{file}: imageHeight, imageWidth")
    near = file.parent.relative_to(root).as_posix()
    photo = Photo(name, near, split_of(near.split("/")[0]), size, str(file))
    if data.get("imageData"):
        photo.embedded = partial(_image_data, file)
    for i, row in enumerate(rows):
        where = f"{file}: shapes[{i}]"
        label = row.get("label") if isinstance(row, dict) else None
        if not isinstance(label, str) or not label:
            raise DataError(f"{where} must have a label, given {shown(row)}; mend it in labelme")
        kind = row.get("shape_type") or "polygon"
        if kind in NO_AREA:
            notes[f"shapes without an area ({kind}) left out"] += 1
        else:
            outline = _outline(row, kind, f"{where} ({label})")
            photo.shapes.append(Shape(IGNORED if label == IGNORE_NAME else label, outline, f"{where} ({label})"))
    return photo


def _image_data(file: Path) -> bytes:
    """The photo in a label file, decoded only where it is needed: most have one, and a file beside it as well."""
    return _decoded(read_object(file)["imageData"], f"{file}: imageData")


def _outline(row: dict[str, Any], kind: str, where: str) -> Outline:
    if kind not in KNOWN:
        raise DataError(f"{where}: shape_type {shown(kind)} is none of {', '.join((*KNOWN, *NO_AREA))}; draw it anew")
    points = as_points(row.get("points"), where, 3 if kind in ("polygon", "oriented_rectangle") else 2)
    if kind == "circle":
        return Disc(points[0], float(np.hypot(*(points[1] - points[0]))))
    if kind == "mask":
        data = np.frombuffer(_decoded(row.get("mask"), where), np.uint8)
        try:
            pixels = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
        except cv2.error:  # no data, or too many pixels
            pixels = None
        if pixels is None:
            raise DataError(f"{where}: its mask is no PNG; draw it anew")
        left, top = np.rint(points.min(axis=0)).astype(int).tolist()
        return Bitmap(left, top, pixels > 0)
    if kind == "rectangle" and len(points) == 2:
        (x0, y0), (x1, y1) = points
        points = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    return Polygons([points])


def _decoded(text: Any, where: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise DataError(f"{where} isn't base64 ({error}); save the file in labelme again") from error
