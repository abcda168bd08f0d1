"""The file that keeps a split's class centroids: of one content only, complete or absent, checked when it is read."""

import hashlib
import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datasets.base import Split
from utils.errors import DataError, EnvironmentFault
from utils.files import file_sha256, write_atomically
from utils.threads import parallel_map

VERSION = 2


def content_digest(split: Split) -> str:
    """SHA-256 (hex) over what identifies the samples and over the bytes of all label files.

    Reading files is cheap beside decoding them. A split that isn't files is identified by its fingerprint alone.

    Raises:
        DataError: A label file can't be read.
    """
    digest = hashlib.sha256(split.fingerprint().encode())
    for line in parallel_map(_file_digest, split.label_files()):
        digest.update(line.encode())
    return digest.hexdigest()


def _file_digest(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error


def read_cache(path: Path, key: dict, num_images: int, num_classes: int) -> list[np.ndarray] | None:
    """The centroids in the file, or None where it is missing, damaged, or of another `key`."""
    try:
        data = json.loads(path.read_text())
        if {name: data[name] for name in key} != key or len(data["centroids"]) != num_classes:
            return None
        centroids = [np.array(rows).reshape(-1, 3) for rows in data["centroids"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    for rows in centroids:
        if rows.size and (rows.dtype.kind != "i" or rows.min() < 0 or rows[:, 0].max() >= num_images):
            return None
    return [rows.astype(np.int64) for rows in centroids]


def write_cache(path: Path, key: dict, centroids: Sequence[np.ndarray]) -> None:
    """Write the file; where that is impossible, warn and continue without."""
    text = json.dumps(key | {"centroids": [rows.tolist() for rows in centroids]})
    try:
        write_atomically(path, lambda file: file.write(text.encode()))
    except EnvironmentFault as error:
        warnings.warn(f"class centroids not cached, they are extracted again next time: {error}", stacklevel=2)
