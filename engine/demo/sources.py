"""What the demo is pointed at -> image and video files, each with a name for its results that no other has."""

import os
from collections import Counter
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from datasets.reading import IMAGE_SUFFIXES
from utils.errors import DataError
from utils.logging import get_logger

PREFIXES = ("color_mask_", "overlay_", "label_ids_", "confidence_", "uncertainty_")
IMAGES = (*IMAGE_SUFFIXES, ".gif")  # suffixes
VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".ts")
NAME_BYTES = 200  # file systems allow 255; the rest is for prefix, suffix and the temporary file's letters


@dataclass(frozen=True)
class Source:
    """A file, and the NAME in the names of its results."""

    path: Path
    name: str

    @property
    def is_video(self) -> bool:
        """By its suffix."""
        return self.path.suffix.lower() in VIDEO_SUFFIXES


def find_sources(source: str, save_dir: str | Path, recursive: bool) -> list[Source]:
    """The files that `source` stands for, sorted by path.

    Args:
        source: A folder (its images), a file of any name, or a pattern (images and videos) with `*`, `?`, `[...]`;
            `**` stands for any folders. Links to folders are not followed within folders and patterns.
        save_dir: Where results go; those of an earlier run are no sources.
        recursive: Also the folders inside a folder.

    Raises:
        DataError: There is no such file or folder, or nothing in it.
    """
    path = Path(source)
    if os.path.isdir(path):
        root, found = path, _walk(path, recursive)
    elif os.path.lexists(path):
        return [Source(path, unique_names([Path(path.name)])[0])]
    elif any(_is_pattern(part) for part in path.parts):
        root, found = _expand(path)
    else:
        raise DataError(f"{source}: no such file or folder; check --source (or --demo_folder)")
    found = sorted(path for path in found if not _is_result(path, Path(save_dir)))
    if not found:
        raise DataError(f"{source}: no images here ({', '.join(IMAGES)}); check --source; {_hint(path, recursive)}")
    names = unique_names([path.relative_to(root) for path in found])
    return [Source(path, name) for path, name in zip(found, names, strict=True)]


def _hint(path: Path, recursive: bool) -> str:
    if os.path.isdir(path) and not recursive:
        return "folders inside it need --recursive, a video is named itself"
    return "a video is named itself or by a pattern"


def _walk(folder: Path, recursive: bool) -> list[Path]:
    def report(error: OSError) -> None:
        get_logger().warning(f"skipped: {error.filename}: cannot be listed ({error.strerror})")

    found = []
    for here, folders, files in os.walk(folder, onerror=report):
        found += [Path(here, name) for name in folders + files if Path(name).suffix.lower() in IMAGES]
        if not recursive:
            break
    return found


def _expand(path: Path) -> tuple[Path, list[Path]]:
    """The folder before the pattern's first part, and the matching files."""
    first = next(i for i, part in enumerate(path.parts) if _is_pattern(part))
    root = Path(*path.parts[:first])
    try:
        matches = {match for match in root.glob("/".join(path.parts[first:])) if not _is_linked(match, root)}
    except ValueError as error:  # such as `**` beside other letters
        raise DataError(f"{path}: not a pattern ({error}); write it like shots/*.jpg or shots/**/*.jpg") from error
    return root, [match for match in matches if match.suffix.lower() in IMAGES + VIDEO_SUFFIXES]


def _is_linked(path: Path, root: Path) -> bool:
    """True where a folder between the two is a link."""
    return any((root / folder).is_symlink() for folder in path.relative_to(root).parents if folder.parts)


def _is_pattern(part: str) -> bool:
    return any(letter in part for letter in "*?[")


def _is_result(path: Path, save_dir: Path) -> bool:
    return path.name.lstrip(".").startswith(PREFIXES) and path.parent.resolve() == save_dir.resolve()


def unique_names(paths: list[Path]) -> list[str]:
    """A name for each path: its folders and stem joined by `_`, without a separator, and not too long.

    Where several would share one (upper and lower case count as equal), the extension follows, then a number.
    """
    stems = [_shorten("_".join((*path.parts[:-1], path.stem))) for path in paths]
    counts = Counter(stem.casefold() for stem in stems)
    taken = {key for key, number in counts.items() if number == 1}
    names = []
    for path, stem in zip(paths, stems, strict=True):
        if counts[stem.casefold()] > 1:
            full = _shorten("_".join((*path.parts[:-1], path.name.replace(".", "_"))))
            choices = (full if i == 1 else f"{full}_{i}" for i in count(1))
            stem = next(choice for choice in choices if choice.casefold() not in taken)
            taken.add(stem.casefold())
        names.append(stem)
    return names


def _shorten(name: str) -> str:
    data = os.fsencode(name)
    return name if len(data) <= NAME_BYTES else data[:NAME_BYTES].decode("utf-8", "ignore")
