"""Results of finished images, kept while an evaluation runs, so that one that was killed goes on where it was."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from engine.evaluation.per_image import ImageResult
from utils.distributed import barrier, from_first_rank
from utils.errors import EnvironmentFault
from utils.files import file_sha256


def fingerprint(**parts: object) -> str:
    """SHA-256 (hex) over plain data: what decides the results of an evaluation."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=repr).encode()).hexdigest()


Files = Callable[[int, str], Iterable[Path]]
"""Index and name of an image -> the files that it is read from, and those that hold its predictions."""


class EvaluationJournal:
    """A folder with subfolders for the parts of a split, in them a file per process and a line per finished image.

    A line starts with a SHA-256 over the fingerprint, the bytes of the image's files and the rest of the line. So a
    torn or damaged line, one of another snapshot, other options or other data, and one whose image, label or
    prediction was changed, cut off or lost, is no result. Contents are compared, not times and sizes: a copy of the
    data for each job has new times, and a mended label may have its old size. Lines are appended, not synchronised to
    the disk one by one: what a power cut takes away is evaluated again.

    Args:
        folder: Where the subfolders are.
        fingerprint: See `fingerprint`.
        files: The files of an image.
        part: Name of the subfolder of what is evaluated now.
    """

    def __init__(
        self, folder: Path, fingerprint: str, files: Files = lambda index, name: (), part: str = "0_of_1"
    ) -> None:
        self.folder, self.fingerprint, self.files, self.part = Path(folder), fingerprint, files, part
        self._file: Path | None = None

    def start(self, resume: bool) -> list[ImageResult]:
        """The results to go on from, the same on every rank; without `resume` none, and those of this part are removed.

        Args:
            resume: Use what earlier evaluations left, of whatever part.
        """
        if not resume:
            self.remove()
        found = from_first_rank(self.load) if resume else []
        barrier()
        return found

    def load(self) -> list[ImageResult]:
        """Every result in the folder that is still valid, in the order of the split."""
        found: dict[int, ImageResult] = {}
        for path in sorted(self.folder.glob("*/*.log")):
            for line in path.read_bytes().splitlines():
                result = self._read(line)
                if result is not None:
                    found[result.index] = result
        return [found[index] for index in sorted(found)]

    def _read(self, line: bytes) -> ImageResult | None:
        """The result in a line, or None."""
        digest, _, text = line.partition(b" ")
        try:
            result = _decode(text)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
            return None
        return result if digest == self._digest(result, text) else None

    def add(self, result: ImageResult) -> None:
        """Append the result of an image that is finished.

        Raises:
            EnvironmentFault: The folder can't be written or the disk is full.
        """
        text, folder = _encode(result), self.folder / self.part
        try:
            if self._file is None:
                folder.mkdir(parents=True, exist_ok=True)
                handle, name = tempfile.mkstemp(suffix=".log", dir=folder)
                os.close(handle)
                self._file = Path(name)
            with open(self._file, "ab") as file:
                file.write(self._digest(result, text) + b" " + text + b"\n")
        except OSError as error:
            raise EnvironmentFault(
                f"{self._file or self.folder}: cannot be written ({error.strerror}); free disk space or change the"
                " output folder, then go on with --resume"
            ) from error

    def remove(self) -> None:
        """Remove what is kept of this part, on every rank at once; other parts may be at work in their subfolders."""
        barrier()
        shutil.rmtree(self.folder / self.part, ignore_errors=True)
        with contextlib.suppress(OSError):  # other parts are in it
            self.folder.rmdir()
        barrier()

    def _digest(self, result: ImageResult, text: bytes) -> bytes:
        digest = hashlib.sha256(self.fingerprint.encode())
        for file in self.files(result.index, result.name):
            try:
                digest.update(file_sha256(file).encode())
            except OSError:  # not there: this is no digest of what was
                digest.update(b"missing")
        digest.update(text)
        return digest.hexdigest().encode()


def _encode(result: ImageResult) -> bytes:
    measures = {
        name: {"dtype": value.dtype.str, "shape": value.shape, "values": value.ravel().tolist()}
        for name, value in result.measures.items()
    }
    fields = vars(result) | {"indices": result.indices.tolist(), "counts": result.counts.tolist(), "measures": measures}
    return json.dumps(fields).encode()


def _decode(text: bytes) -> ImageResult:
    fields = json.loads(text)
    fields["indices"], fields["counts"] = np.array(fields["indices"], np.int32), np.array(fields["counts"], np.int64)
    fields["measures"] = {
        name: np.array(value["values"], value["dtype"]).reshape(value["shape"])
        for name, value in fields["measures"].items()
    }
    return ImageResult(**fields)
