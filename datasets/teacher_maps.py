"""What a teacher says of the images of a split: logits at a quarter of their size, mapped from one file of float16."""

import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO

import numpy as np

from datasets.pixel_file import Sizes
from utils.errors import EnvironmentFault
from utils.files import make_folder, write_atomically
from utils.logging import Progress, get_logger
from utils.resizing import coarse_size

PREFIX, SUFFIX = "teacher_", ".npy"  # of a file's name
ABANDONED = 3600  # seconds without a byte after which a file that isn't finished is no run's


class TeacherMaps:
    """The maps of all samples: workers and processes that open the file share its memory.

    Args:
        path: Of a complete file, a `.npy` of float16 with one map after the other.
        num_classes: Channels of each.
        sizes: Of the images.

    Raises:
        ValueError, OSError: The file is damaged or of other images.
    """

    def __init__(self, path: str | Path, num_classes: int, sizes: Sizes) -> None:
        self.path, self.num_classes, self.sizes = str(path), num_classes, sizes
        self.offsets = _offsets(num_classes, sizes)
        self._values = np.load(path, mmap_mode="r", allow_pickle=False)
        if self._values.dtype != np.float16 or self._values.shape != (self.offsets[-1],):
            raise ValueError(f"{path}: isn't a file of these maps")

    def __reduce__(self) -> tuple:
        return TeacherMaps, (self.path, self.num_classes, self.sizes)  # for workers that aren't forked

    def load(self, index: int) -> np.ndarray:
        """Logits float16 (C,h,w), a view that can't be written; (h,w) is `coarse_size` of the image."""
        start, stop = self.offsets[index : index + 2]
        return self._values[start:stop].reshape(self.num_classes, *coarse_size(self.sizes[index]))


def write_teacher_maps(path: Path, num_classes: int, sizes: Sizes, predict: Callable[[int], np.ndarray]) -> None:
    """Write the file that `TeacherMaps` opens, whole or not at all.

    Args:
        path: Its name.
        num_classes: Channels of each map.
        sizes: Of the images.
        predict: Index -> logits (C,h,w) of `coarse_size`.

    Raises:
        EnvironmentFault: The folder can't be written, or the disk has no room.
    """
    make_folder(path.parent, "--ckpt")
    _tidy(path.parent)
    values = _offsets(num_classes, sizes)[-1]
    needed, free = 2 * values / 2**30, shutil.disk_usage(path.parent).free / 2**30
    if needed > 0.9 * free:
        raise EnvironmentFault(
            f"--teacher: {path} needs {needed:.2f} GiB, and {free:.2f} GiB of disk space are free; make room, or choose"
            " another --ckpt"
        )

    def write(file: BinaryIO) -> None:
        header = {"descr": "<f2", "fortran_order": False, "shape": (values,)}
        np.lib.format.write_array_header_1_0(file, header)
        for index in Progress(range(len(sizes)), "teacher", True):
            file.write(np.ascontiguousarray(predict(index), np.float16))

    write_atomically(path, write)


def _tidy(folder: Path) -> None:
    """Removes what killed runs left half-written, and names the maps of other teachers and data."""
    for path in folder.glob(f".{PREFIX}*.tmp"):
        with suppress(OSError):  # another run tidies up, too
            if time.time() - path.stat().st_mtime > ABANDONED:
                path.unlink()
    sizes = [path.stat().st_size / 2**30 for path in folder.glob(f"{PREFIX}*{SUFFIX}")]
    if sizes:
        what = f"{len(sizes)} files of other teachers or data ({sum(sizes):.1f} GiB)"
        get_logger().info(f"--teacher: {folder} holds {what}, which may be deleted")


def _offsets(num_classes: int, sizes: Sizes) -> list[int]:
    areas = (height * width for height, width in map(coarse_size, sizes))
    return list(accumulate((num_classes * area for area in areas), initial=0))
