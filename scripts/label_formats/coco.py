"""COCO's instances, as CVAT, Label Studio and Roboflow export them: one JSON file, or one for each split."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

from scripts.label_formats.labelled import (
    BOX_ONLY,
    IGNORED,
    Labels,
    Photo,
    Shape,
    as_points,
    as_size,
    label_files,
    quoted,
    read_object,
    shown,
    split_of,
)
from scripts.label_formats.outlines import Outline, Polygons, Runs
from utils.errors import DataError

GROUPING = "categories that only group others left out"
CROWD = "crowds ignored; CVAT writes masks of its brush as crowds: if they are objects, set their iscrowd to 0"


def read(path: Path) -> Labels:
    """A file, or all of a folder: `instances_*.json`, else Roboflow's `_annotations.coco.json`, else every JSON file.

    Raises:
        DataError: A file is malformed, an annotation names an unknown image or category.
    """
    names: dict[str, None] = {}
    photos, notes, grouping, used = [], Counter(), set(), set()
    for file in _files(path):
        data = read_object(file)
        images, categories, annotations = (_rows(data, key, file) for key in ("images", "categories", "annotations"))
        classes = _classes(categories, file)
        grouping |= {str(row.get("supercategory")) for row in categories if row.get("supercategory") != row["name"]}
        names |= dict.fromkeys(classes.values())
        near = file.parent.relative_to(path).as_posix() if path.is_dir() else ""
        named_after = [*re.split(r"[^a-zA-Z0-9]+", file.stem), near.rpartition("/")[2]]
        split = next((split for word in named_after if (split := split_of(word))), None)
        found = _photos(images, file, near, split)
        for i, row in enumerate(annotations):
            where = f"{file}: annotation {row.get('id', f'number {i}')}"
            photo = _known(found, row.get("image_id"), "image", where)
            label = _known(classes, row.get("category_id"), "category", where)
            used.add(label)
            outline = _outline(row, where)
            if outline is None:
                notes[BOX_ONLY] += 1
            else:
                notes[CROWD] += bool(row.get("iscrowd"))
                photo.shapes.append(Shape(IGNORED if row.get("iscrowd") else label, outline, where))
        photos += found.values()
    if notes[BOX_ONLY] and not any(photo.shapes for photo in photos):
        raise DataError(f"{path}: all {notes[BOX_ONLY]} annotations are boxes; export instances with segmentation")
    empty = [name for name in names if name in grouping and name not in used]
    notes[GROUPING] = len(empty)
    return Labels([name for name in names if name not in empty], photos, +notes)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = label_files(path, "*.json", "JSON file")
    for chosen in (lambda name: name.startswith("instances_"), lambda name: name == "_annotations.coco.json"):
        if some := [file for file in files if chosen(file.name)]:
            return some
    return files


def _rows(data: dict[str, Any], key: str, file: Path) -> list[dict[str, Any]]:
    rows = data.get(key)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{file}: key {key!r} must be a list of objects, so these are no COCO instances; see --format")
    return rows


def _classes(rows: list[dict[str, Any]], file: Path) -> dict[int, str]:
    """Category id -> name."""
    classes: dict[int, str] = {}
    for i, row in enumerate(rows):
        number, name = row.get("id"), row.get("name")
        if type(number) is not int or number in classes or not isinstance(name, str) or not name:
            raise DataError(f"{file}: categories[{i}] must have its own integer id and a name, given {shown(row)}")
        classes[number] = name
    return classes


def _photos(rows: list[dict[str, Any]], file: Path, near: str, split: str | None) -> dict[Any, Photo]:
    """Image id -> photo."""
    photos: dict[Any, Photo] = {}
    for i, row in enumerate(rows):
        number, name, where = row.get("id"), row.get("file_name"), f"{file}: images[{i}]"
        if not isinstance(number, (int, str)) or number in photos or not isinstance(name, str) or not name:
            raise DataError(f"{where} must have its own id and a file_name, given {shown(row)}; export again")
        photos[number] = Photo(name, near, split, as_size(row.get("height"), row.get("width"), where), str(file))
    return photos


def _known(table: dict[Any, Any], number: Any, what: str, where: str) -> Any:
    if not isinstance(number, (int, str)) or number not in table:
        listed = f"; the file lists {quoted(list(table))}" if what == "category" else ""
        raise DataError(f"{where}: unknown {what} {shown(number)}{listed}; add it to the file or remove the annotation")
    return table[number]


def _outline(row: dict[str, Any], where: str) -> Outline | None:
    """None for a mere box."""
    data = row.get("segmentation")
    if not data:
        if not row.get("bbox"):
            raise DataError(f"{where}: has no segmentation; remove it or export again")
        return None
    if isinstance(data, dict):
        size, counts = data.get("size"), data.get("counts")
        if not isinstance(size, list) or len(size) != 2 or not isinstance(counts, (str, list)):
            raise DataError(f"{where}: a run-length mask has size [height, width] and counts, given {shown(data)}")
        return Runs(as_size(*size, where), counts)
    parts = data if isinstance(data, list) and isinstance(data[0], list) else [data]
    return Polygons([as_points(part, where, 3) for part in parts])
