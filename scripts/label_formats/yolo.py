"""YOLO's segmentation labels: a text file for each photo, a polygon a line, in parts of width and height."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from scripts.label_formats.labelled import (
    BOX_ONLY,
    Labels,
    Photo,
    Shape,
    as_points,
    label_files,
    quoted,
    read_text,
    split_of,
)
from scripts.label_formats.outlines import Polygons
from utils.errors import DataError
from utils.optional import import_package

NAME_LISTS = ("classes.txt", "obj.names")
LISTS = ("train.txt", "val.txt", "valid.txt", "test.txt")  # of images, beside the folders


def read(path: Path) -> Labels:
    """A folder of labels, or one that holds `labels/` or `train/labels/`, with `data.yaml` or `classes.txt`.

    Raises:
        DataError: No class names, a malformed line, a class number beyond the names.
        EnvironmentFault: PyYAML is missing and the names are in a YAML file.
    """
    if not path.is_dir():
        raise DataError(f"{path}: not a folder; --labels is the folder of YOLO's text files, or the one above it")
    names = _class_names(path)
    files = [file for file in label_files(path, "*.txt", "text file") if file.name not in NAME_LISTS]
    inside = [file for file in files if "labels" in (path.resolve().name, *file.relative_to(path).parts[:-1])]
    outside = [file for file in files if file.name not in LISTS and not file.name.startswith("README")]
    notes: Counter[str] = Counter()
    photos = [_read_photo(file, path, names, notes) for file in inside or outside]
    if not photos:
        raise DataError(f"{path}: no label file (NAME.txt for each photo) in it; check --format and --labels")
    if notes[BOX_ONLY] and not any(photo.shapes for photo in photos):
        raise DataError(f"{path}: all {notes[BOX_ONLY]} lines are detection boxes (5 numbers); export as segmentation")
    return Labels(names, photos, notes)


def _read_photo(file: Path, root: Path, names: list[str], notes: Counter[str]) -> Photo:
    relative = file.relative_to(root)
    folders = ["images" if part == "labels" else part for part in relative.parts[:-1]]
    split = next((found for part in folders if (found := split_of(part))), None)
    photo = Photo(file.name, "/".join(folders), split, None, str(file))
    for number, line in enumerate(read_text(file).splitlines(), 1):
        words, where = line.split(), f"{file}:{number}"
        if not words:
            continue
        if not words[0].isdecimal() or len(words[0]) > 9 or int(words[0]) >= len(names):
            raise DataError(
                f"{where}: unknown class {words[0][:40]!r}; numbers are 0 to {len(names) - 1} ({quoted(names)})"
            )
        if len(words) == 5:  # a detection box
            as_points(words[1:], where, 2)
            notes[BOX_ONLY] += 1
            continue
        photo.shapes.append(Shape(names[int(words[0])], Polygons([as_points(words[1:], where, 3)], True), where))
    return photo


def _class_names(path: Path) -> list[str]:
    for file in _name_files(path):
        names = _names_in(file)
        if names is None:
            continue
        if not names or not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
            raise DataError(f"{file}: the class names must be texts, no two alike; mend them")
        return names
    raise DataError(f"{path}: no class names; put data.yaml (key names) or classes.txt (a name a line) there")


def _name_files(path: Path) -> Iterator[Path]:
    """Files that may name the classes: in the folder and, if it is `labels` or one in it, in the two above it."""
    path = path.resolve()
    for folder in (path, *(path.parents[:2] if "labels" in path.parts[-2:] else ())):
        yield from sorted(folder.glob("*.yaml"), key=lambda file: file.name != "data.yaml")
        yield from (folder / name for name in NAME_LISTS if (folder / name).is_file())


def _names_in(file: Path) -> list | None:
    """The names by number; None for a YAML file of something else."""
    text = read_text(file)
    if file.suffix != ".yaml":
        return [line.strip() for line in text.splitlines() if line.strip()]
    remedy = "pip install -r requirements-extras.txt, or write classes.txt, a name a line"
    yaml = import_package("yaml", str(file), remedy)
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DataError(f"{file}: not valid YAML ({' '.join(str(error).split())}); export again") from error
    names = data.get("names") if isinstance(data, dict) else None
    if isinstance(names, dict):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise DataError(f"{file}: the keys of names must be the numbers 0 to {len(names) - 1}; mend them")
        return [names[number] for number in range(len(names))]
    return names if isinstance(names, list) else None
