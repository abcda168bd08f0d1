"""Files of arrays that are kept to save time: complete or absent, checked when they are read, never trusted."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from utils.errors import EnvironmentFault
from utils.files import write_atomically
from utils.logging import get_logger

HEADER = "header"
_warned: set[Path] = set()


def read_arrays(path: Path, header: Mapping) -> dict[str, np.ndarray] | None:
    """The arrays that `write_arrays` wrote under this `header`; None where the file is missing, damaged or another."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if bytes(file[HEADER]) != _encode(header):
                return None
            return {name: file[name] for name in file.files if name != HEADER}
    except Exception:  # whatever a damaged file leads to, from BadZipFile to MemoryError: it only saves time
        return None


def write_arrays(path: Path, header: Mapping, arrays: Mapping[str, np.ndarray]) -> None:
    """Write the file, atomically; where that is impossible, warn (once for each folder) and continue without.

    Args:
        path: Of the file, `*.npz`.
        header: Plain data that says what the arrays belong to.
        arrays: Of numbers, by name.
    """
    content = {HEADER: np.frombuffer(_encode(header), np.uint8)} | arrays
    try:
        write_atomically(path, lambda file: np.savez(file, **content))
    except EnvironmentFault as error:
        if path.parent not in _warned:
            _warned.add(path.parent)
            get_logger().warning(f"what was read of the data is not cached, the next start reads it again: {error}")


def _encode(header: Mapping) -> bytes:
    return json.dumps(header, sort_keys=True).encode()
