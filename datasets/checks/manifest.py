"""A manifest of a data set's files: sizes and SHA-256, by which silent damage is found later.

A file of JSON lines: a header, then one object per file, sorted by path. Hidden files are left out.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath

from utils.errors import DataError
from utils.files import file_sha256, write_atomically
from utils.logging import Progress
from utils.threads import parallel_map

FORMAT, VERSION = "fenet-manifest", 1
DEFAULT_NAME = "manifest.jsonl"
Entry = tuple[int, str]  # size in bytes, SHA-256 (hex)


@dataclass
class Differences:
    """Paths, relative to the root, that are not as the manifest says; `checked` is the number of its files."""

    checked: int
    changed: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.changed or self.missing or self.extra)


def write_manifest(root: Path, path: Path, progress: bool = False) -> int:
    """Write the manifest of all files below `root` to `path`, atomically; returns their number.

    Raises:
        DataError: A folder or file can't be read, or there is none.
        EnvironmentFault: `path` can't be written.
    """
    names = _list_names(root, path)
    if not names:
        raise DataError(f"{root}: no files in it; name the data with --data_root")
    entries = dict(zip(names, _in_parallel(lambda name: _entry(root / name), names, "manifest", progress), strict=True))
    lines = [{"format": FORMAT, "version": VERSION, "files": len(entries)}]
    lines += [{"path": name, "size": size, "sha256": digest} for name, (size, digest) in entries.items()]
    # ASCII: names that are no UTF-8 come back as they were
    text = "".join(json.dumps(line) + "\n" for line in lines)
    write_atomically(path, lambda file: file.write(text.encode()))
    return len(entries)


def verify_manifest(root: Path, path: Path, progress: bool = False) -> Differences:
    """Compare the files below `root` with the manifest; a file of another size is not read.

    Raises:
        DataError: The manifest is missing, damaged or names files outside `root`; or a folder can't be listed.
    """
    entries = read_manifest(path)
    found = set(_list_names(root, path))
    present = [name for name in entries if name in found]
    same = _in_parallel(lambda name: _is_same(root / name, entries[name]), present, "verify", progress)
    return Differences(
        checked=len(entries),
        changed=[name for name, good in zip(present, same, strict=True) if not good],
        missing=[name for name in entries if name not in found],
        extra=sorted(found - entries.keys()),
    )


def read_manifest(path: Path) -> dict[str, Entry]:
    """Entries by path relative to the root.

    Raises:
        DataError: Missing, damaged, cut short, or with an entry that leaves the root.
    """
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        header, rows = lines[0], lines[1:]
        known = header["format"] == FORMAT and header["version"] == VERSION
        entries = {str(row["path"]): (int(row["size"]), str(row["sha256"])) for row in rows}
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); make one with --manifest write") from error
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(f"{path}: not a manifest, or damaged; make a new one with --manifest write") from error
    if not known or not len(entries) == len(rows) == header["files"]:
        raise DataError(f"{path}: cut short, or of another version; make a new one with --manifest write")
    for name in entries:
        _check_inside(path, name)
    return entries


def _check_inside(path: Path, name: str) -> None:
    parts = PurePosixPath(name)
    if not parts.parts or parts.is_absolute() or ".." in parts.parts or "\0" in name or PureWindowsPath(name).drive:
        raise DataError(f"{path}: entry {name!r} is not a file below the root; don't trust this manifest")


def _list_names(root: Path, manifest: Path) -> list[str]:
    """Files below `root` but the manifest itself, as sorted POSIX paths relative to it."""
    names = [file.relative_to(root).as_posix() for file in _walk(root, ())]
    own = Path(os.path.abspath(manifest))
    return sorted(name for name in names if Path(os.path.abspath(root / name)) != own)


def _walk(folder: Path, above: tuple[str, ...]) -> Iterator[Path]:
    """Files below a folder, links followed; `above` are the real paths of the folders that it lies in."""
    above = (*above, os.path.realpath(folder))
    if above[-1] in above[:-1]:
        raise DataError(f"{folder}: a link back to {above[-1]}, in which it lies; remove it")
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror}); check --data_root") from error
    for entry in visible:
        if entry.is_dir():
            yield from _walk(folder / entry.name, above)
        elif entry.is_file():
            yield folder / entry.name


def _entry(file: Path) -> Entry:
    try:
        return file.stat().st_size, file_sha256(file)
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); check its permissions and the disk") from error


def _is_same(file: Path, expected: Entry) -> bool:
    try:
        return file.stat().st_size == expected[0] and file_sha256(file) == expected[1]
    except OSError:  # a file that can't be read any more is damage, too
        return False


def _in_parallel(work: Callable, names: list[str], title: str, progress: bool) -> list:
    return list(Progress(parallel_map(work, names), title, progress, total=len(names)))
