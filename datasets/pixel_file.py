"""The file of a pixel cache: decoded images and labels, one after another, to be mapped into memory.

A header (magic, length and SHA-256 of the JSON after it; the JSON holds the key and the sizes), then from the next page
on each sample's RGB uint8 (H,W,3) and train ids uint8 (H,W). Opening checks the header, the key and the file's length;
the pixels themselves have no checksum.
"""

import hashlib
import json
import mmap
import os
import struct
from collections.abc import Callable
from contextlib import closing
from itertools import accumulate
from pathlib import Path

import numpy as np

from utils.errors import DataError
from utils.logging import Progress
from utils.threads import parallel_map

MAGIC = b"FENETPIX"
HEAD = struct.Struct("<8sQ32s")
PAGE = 4096
Sizes = list[tuple[int, int]]  # (height, width) by sample
Loader = Callable[[int], tuple[np.ndarray, np.ndarray]]


class PixelFile:
    """A complete file, mapped: workers and processes that open it share its memory.

    Args:
        path: The file.
        key: What it has to be of.

    Raises:
        ValueError: It is damaged, incomplete or of another key.
        OSError: It can't be opened.
    """

    def __init__(self, path: str | Path, key: str) -> None:
        self.path, self.key = str(path), key
        with open(path, "rb") as file:
            sizes = _read_header(file, key)
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.sizes, self.offsets = sizes, _offsets(sizes, key)
        if len(self._map) != self.offsets[-1]:
            raise ValueError(f"{path}: {len(self._map)} bytes, should be {self.offsets[-1]}")
        self._bytes = np.frombuffer(self._map, np.uint8)

    def __len__(self) -> int:
        return len(self.sizes)

    def __reduce__(self) -> tuple:
        return PixelFile, (self.path, self.key)  # for workers that aren't forked: the map can't be sent

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """RGB (H,W,3) and train ids (H,W), uint8: views that can't be written."""
        height, width = self.sizes[index]
        start, stop = self.offsets[index : index + 2]
        border = start + 3 * height * width
        return self._bytes[start:border].reshape(height, width, 3), self._bytes[border:stop].reshape(height, width)


def file_length(sizes: Sizes, key: str) -> int:
    """Bytes of the file."""
    return _offsets(sizes, key)[-1]


def fill(handle: int, key: str, sizes: Sizes, load: Loader, describe: Callable[[int], str]) -> None:
    """Write a whole file into an empty one that is open, in parallel, with a progress bar.

    Args:
        handle: Its descriptor.
        key: What it is of.
        sizes: Of all samples.
        load: Index -> RGB (H,W,3) and train ids (H,W), uint8.
        describe: Index -> the sample in words.

    Raises:
        DataError: A sample can't be loaded, or its sizes are not the expected ones.
        OSError: No space.
    """
    offsets = _offsets(sizes, key)
    os.ftruncate(handle, offsets[-1])

    def copy(index: int) -> None:
        image, label = load(index)
        if image.shape[:2] != tuple(sizes[index]) or label.shape != tuple(sizes[index]):
            raise DataError(f"{describe(index)}: changed while it was read; start again")
        border = offsets[index] + image.nbytes
        _write(handle, np.ascontiguousarray(image), offsets[index])
        _write(handle, np.ascontiguousarray(label), border)

    with closing(parallel_map(copy, range(len(sizes)))) as copied:  # nothing is written after an error
        for _ in Progress(copied, "caching pixels", True, total=len(sizes)):
            pass
    _write(handle, np.frombuffer(_header(sizes, key), np.uint8), 0)


def _write(handle: int, array: np.ndarray, offset: int) -> None:
    left = memoryview(array).cast("B")
    while left:
        count = os.pwrite(handle, left, offset)
        left, offset = left[count:], offset + count


def _header(sizes: Sizes, key: str) -> bytes:
    text = json.dumps({"key": key, "sizes": [list(size) for size in sizes]}).encode()
    return HEAD.pack(MAGIC, len(text), hashlib.sha256(text).digest()) + text


def _read_header(file, key: str) -> Sizes:
    """The sizes. Raises `ValueError` where the header is damaged or of another key."""
    head = file.read(HEAD.size)
    if len(head) < HEAD.size:
        raise ValueError("the header is incomplete")
    magic, length, digest = HEAD.unpack(head)
    text = file.read(min(length, 2**30)) if magic == MAGIC else b""
    if hashlib.sha256(text).digest() != digest:
        raise ValueError("the header is damaged")
    content = json.loads(text)
    if content["key"] != key:
        raise ValueError("of other data")
    return [(height, width) for height, width in content["sizes"]]


def _offsets(sizes: Sizes, key: str) -> list[int]:
    """Where each sample begins, and at last the file's length."""
    first = -(-len(_header(sizes, key)) // PAGE) * PAGE
    return list(accumulate((4 * height * width for height, width in sizes), initial=first))
