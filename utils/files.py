"""Files that are either complete or absent."""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from utils.errors import EnvironmentFault


def write_atomically(path: str | Path, write: Callable[[BinaryIO], Any]) -> None:
    """Let `write` fill a temporary file beside `path`, flush it to disk, and rename it to `path`.

    Raises:
        EnvironmentFault: The folder can't be written or the disk is full; `path` is as it was.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        with os.fdopen(handle, "w+b") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        _rename(temporary, path)
    except OSError as error:
        raise EnvironmentFault(
            f"{path}: cannot be written ({error.strerror or error}); free disk space or change the output folder"
        ) from error
    finally:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)


def publish(temporary: str | Path, path: str | Path) -> None:
    """Flush a finished file beside `path` that another library wrote, and rename it to `path`.

    Raises:
        EnvironmentFault: The disk is full or fails; `path` is as it was.
    """
    try:
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        _rename(temporary, Path(path))
    except OSError as error:
        raise EnvironmentFault(
            f"{path}: cannot be written ({error.strerror or error}); free disk space or change the output folder"
        ) from error


def _rename(temporary: str | Path, path: Path) -> None:
    """Give a finished temporary file its name and the permissions of an ordinary file, durably."""
    os.chmod(temporary, 0o666 & ~_umask())
    os.replace(temporary, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


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
