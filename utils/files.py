"""Files that are either complete or absent."""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from utils.errors import DataError, EnvironmentFault


@contextmanager
def disk_faults(path: Path) -> Iterator[None]:
    """A block whose OSError is a fault of the disk, or of the folder, that `path` lies on."""
    try:
        yield
    except OSError as error:
        raise EnvironmentFault(
            f"{path}: cannot be written ({error.strerror or error}); free disk space or change the output folder"
        ) from error


def write_atomically(path: str | Path, write: Callable[[BinaryIO], Any]) -> None:
    """Let `write` fill a temporary file beside `path`, flush it to disk, and rename it to `path`.

    Raises:
        EnvironmentFault: The folder can't be written or the disk is full; `path` is as it was.
    """
    path, temporary = Path(path), None
    try:
        with disk_faults(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            # a name may have 255 bytes, a letter up to four
            handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:60]}.", suffix=".tmp", dir=path.parent)
            with os.fdopen(handle, "w+b") as file:
                write(file)
            publish(temporary, path)
    finally:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)


def publish(temporary: str | Path, path: str | Path) -> None:
    """Flush a finished file beside `path` to disk and rename it to `path`, with the permissions of an ordinary file.

    Raises:
        EnvironmentFault: The disk is full or fails; `path` is as it was.
    """
    path = Path(path)
    with disk_faults(path):
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` durable, where the system opens folders."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_json(path: Path) -> dict:
    """The object in a JSON file that a run or an evaluation left. Raises `DataError` if it is missing or damaged."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read ({error}); train or evaluate again") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds no JSON object; train or evaluate again")
    return content


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically; NaN is refused."""
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))


def file_sha256(path: str | Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def output_folder(path: str | Path, flag: str) -> Iterator[Path]:
    """`make_folder` for a block, at whose end folders that it created and that nothing was put into are removed."""
    places = [Path(path), *Path(path).parents]
    missing = [place for place in places if not os.path.lexists(place)]
    try:
        yield make_folder(path, flag)
    finally:
        for place in missing:
            with suppress(OSError):  # there is something in it, or it was never created
                place.rmdir()


def make_folder(path: str | Path, flag: str) -> Path:
    """Create an output folder and return it.

    Raises:
        EnvironmentFault: It can't be created or written; the message names `flag`.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentFault(f"{path}: cannot be created ({error.strerror}); choose another {flag}") from error
    if not os.access(path, os.W_OK):
        raise EnvironmentFault(f"{path}: no permission to write; choose another {flag}")
    return path
