"""Results of finished images, kept while an evaluation runs, so that one that was killed goes on where it was."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from engine.measures import ImageResult
from utils.distributed import barrier, gather_objects
from utils.errors import EnvironmentFault


def fingerprint(**parts: object) -> str:
    """SHA-256 (hex) over plain data: what decides the results of an evaluation."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=repr).encode()).hexdigest()


class PartialResults:
    """A folder with a file per process and a line per finished image.

    A line starts with the SHA-256 over the fingerprint and the rest of the line, so a torn or damaged line, or one of
    another snapshot, other options or other data, is no result. Lines are appended, not synchronised to the disk one
    by one: what a power cut takes away is evaluated again.

    Args:
        folder: Where the files are.
        fingerprint: See `fingerprint`.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder, self.fingerprint = Path(folder), fingerprint
        self._file: Path | None = None

    def start(self, resume: bool, complete: Callable[[ImageResult], bool]) -> list[ImageResult]:
        """The results to go on from, the same on every rank; without `resume` none, and the folder is cleared.

        Args:
            resume: Use what an earlier evaluation left.
            complete: False for a result whose files are missing.
        """
        if not resume:
            self.remove()
        found = [result for result in self.load() if complete(result)]
        shared = {result.index: result for part in gather_objects(found) for result in part}
        return [shared[index] for index in sorted(shared)]

    def load(self) -> list[ImageResult]:
        """Every result of this fingerprint in the folder."""
        lines = [line for path in sorted(self.folder.glob("*.log")) for line in path.read_bytes().splitlines()]
        parts = (line.partition(b" ") for line in lines)
        return [_decode(text) for digest, _, text in parts if digest == self._digest(text)]

    def add(self, result: ImageResult) -> None:
        """Append the result of an image that is finished.

        Raises:
            EnvironmentFault: The folder can't be written or the disk is full.
        """
        text = _encode(result)
        try:
            if self._file is None:
                self.folder.mkdir(parents=True, exist_ok=True)
                handle, name = tempfile.mkstemp(suffix=".log", dir=self.folder)
                os.close(handle)
                self._file = Path(name)
            with open(self._file, "ab") as file:
                file.write(self._digest(text) + b" " + text + b"\n")
        except OSError as error:
            raise EnvironmentFault(
                f"{self._file or self.folder}: cannot be written ({error.strerror}); free disk space or change the"
                " output folder, then go on with --resume"
            ) from error

    def remove(self) -> None:
        """Remove the folder, on every rank at once."""
        barrier()
        shutil.rmtree(self.folder, ignore_errors=True)
        barrier()

    def _digest(self, text: bytes) -> bytes:
        return hashlib.sha256(self.fingerprint.encode() + text).hexdigest().encode()


def _encode(result: ImageResult) -> bytes:
    measures = {
        name: {"dtype": value.dtype.str, "shape": value.shape, "values": value.ravel().tolist()}
        for name, value in result.measures.items()
    }
    fields = vars(result) | {"cells": result.cells.tolist(), "counts": result.counts.tolist(), "measures": measures}
    return json.dumps(fields).encode()


def _decode(text: bytes) -> ImageResult:
    fields = json.loads(text)
    fields["cells"], fields["counts"] = np.array(fields["cells"], np.int32), np.array(fields["counts"], np.int64)
    fields["measures"] = {
        name: np.array(value["values"], value["dtype"]).reshape(value["shape"])
        for name, value in fields["measures"].items()
    }
    return ImageResult(**fields)
