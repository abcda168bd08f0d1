"""Class lists in JSON files that come with the data: read, and checked value by value."""

import json
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from utils.errors import DataError


def read_rows(path: Path, key: str, most: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The file's object, and its list of classes under `key`: 1 to `most` objects.

    Raises:
        DataError: The file is missing or malformed; the message names it and the key.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); it names the classes and their ids") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON ({error})") from error
    rows = data.get(key) if isinstance(data, dict) else None
    if not isinstance(rows, list) or not 0 < len(rows) <= most:
        raise DataError(f"{path}: key {key!r} must be a list of 1 to {most} classes")
    for i, row in enumerate(rows):
        if not isinstance(row, dict):
            raise DataError(f"{path}: key '{key}[{i}]' must be an object that describes a class, given {row!r}")
    return data, rows


def checked_name(path: Path, key: str, value: Any, taken: list[str]) -> str:
    """`value` if it is a class name that isn't among those `taken`; else a `DataError` with `path` and `key`."""
    if not isinstance(value, str) or not value or value in taken or not _is_writable(value):
        raise DataError(f"{path}: key {key!r} must be a name no other class has, given {value!r}")
    return value


def _is_writable(name: str) -> bool:
    """Whether it can be in a text file: half of a surrogate pair, which JSON may hold, can't."""
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def checked_id(path: Path, key: str, value: Any, taken: list[int]) -> int:
    """`value` if it is a label id that isn't among those `taken`; else a `DataError` with `path` and `key`."""
    if type(value) is not int or not 0 <= value <= 255 or value in taken:
        raise DataError(f"{path}: key {key!r} must be an id from 0 to 255 that no class has yet, given {value!r}")
    return value


def checked_color(path: Path, key: str, value: Any) -> tuple[int, int, int]:
    """`value` if it is an RGB colour, as a tuple; else a `DataError` with `path` and `key`."""
    if not isinstance(value, list) or len(value) != 3 or not all(type(v) is int and 0 <= v <= 255 for v in value):
        raise DataError(f"{path}: key {key!r} must be three numbers from 0 to 255, given {value!r}")
    return (value[0], value[1], value[2])


def check_keys(path: Path, data: dict[str, Any], known: Sequence[str], place: str = "") -> None:
    """Raises `DataError` with `path` and the key if `data`, which stands at `place`, has one that isn't `known`."""
    for key in data:
        if key not in known:
            near = get_close_matches(key.casefold(), known, 1)
            meant = f"; is {near[0]!r} meant?" if near else ""
            raise DataError(f"{path}: unknown key '{place}{key}'{meant} Known are {', '.join(known)}")


def checked_several(key: str, value: Any, check: Callable[[str, Any], Any]) -> tuple:
    """What `check` makes of a value, or of each of a list of at least one."""
    if not isinstance(value, list) or not value:
        return (check(key, value),)
    return tuple(check(f"{key}[{i}]", one) for i, one in enumerate(value))
