"""Results of finished images, kept while an evaluation runs, so that one that was killed resumes."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from datasets.base import Split
from datasets.instances import InstanceFiles
from engine.evaluation.confidence import ConfidenceMaps
from engine.evaluation.per_image import ImageResult
from engine.evaluation.prediction_files import PredictionWriter
from utils.distributed import barrier, from_first_rank
from utils.errors import EnvironmentFault
from utils.files import file_sha256

Writer = PredictionWriter | ConfidenceMaps


class EvaluationJournal:
    """A folder with a subfolder for each part of a split, in it a file per process with a JSON line per finished image.

    A line's fingerprint is a SHA-256 over `settings`, the contents of the image's files (image, label, predictions)
    and the result. So a torn or damaged line, one of another evaluation, and one of an image whose files were changed
    or lost, is no result. Contents are compared, not times and sizes: a copy of the data for each job has new times,
    and a mended label may have its old size. Lines aren't synchronised to the disk: what a power cut takes away is
    evaluated again.

    Args:
        folder: Where the subfolders are.
        settings: Plain data that decides an image's result: snapshot, data, options, device.
        split: Names the files of an image.
        writers: Name the files of its predictions; a None has none.
        part: Subfolder of what is evaluated now.
        instances: Names its file of instance ids; None: they aren't scored.
        part: Subfolder of what is evaluated now.
    """

    def __init__(
        self,
        folder: Path,
        settings: dict,
        split: Split,
        writers: Sequence[Writer | None] = (),
        part: str = "0_of_1",
        instances: InstanceFiles | None = None,
    ) -> None:
        self.folder, self.split, self.part, self.instances = Path(folder), split, part, instances
        self.writers = [writer for writer in writers if writer is not None]
        self._settings = json.dumps(settings, sort_keys=True, default=repr)
        self._file: Path | None = None

    def start(self, resume: bool) -> list[ImageResult]:
        """The results to resume from, of whatever part, the same on every rank; else those of this part are removed."""
        if not resume:
            self.remove()
        found = from_first_rank(self.load) if resume else []
        barrier()
        return found

    def load(self) -> list[ImageResult]:
        """Every result in the folder that is still valid, in the order of the split."""
        lines = [line for path in sorted(self.folder.glob("*/*.jsonl")) for line in path.read_bytes().splitlines()]
        found = {result.index: result for result in map(self._read, lines) if result is not None}
        return [found[index] for index in sorted(found)]

    def _read(self, line: bytes) -> ImageResult | None:
        try:
            fields = json.loads(line)
            expected = fields.pop("fingerprint")
            result = ImageResult.from_dict(fields)
            return result if self._fingerprint(fields) == expected else None
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError, OverflowError):
            return None

    def add(self, result: ImageResult) -> None:
        """Append the result of an image that is finished.

        Raises:
            EnvironmentFault: The folder can't be written or the disk is full.
        """
        fields = result.to_dict()
        line = json.dumps({"fingerprint": self._fingerprint(fields)} | fields) + "\n"
        try:
            if self._file is None:
                (self.folder / self.part).mkdir(parents=True, exist_ok=True)
                handle, name = tempfile.mkstemp(suffix=".jsonl", dir=self.folder / self.part)
                os.close(handle)
                self._file = Path(name)
            with open(self._file, "a") as file:
                file.write(line)
        except OSError as error:
            raise EnvironmentFault(
                f"{self._file or self.folder}: cannot be written ({error.strerror}); free disk space or change the"
                " output folder, then continue with --resume"
            ) from error

    def remove(self) -> None:
        """Remove what is kept of this part, on every rank at once; other parts may be at work in their subfolders."""
        barrier()
        shutil.rmtree(self.folder / self.part, ignore_errors=True)
        with contextlib.suppress(OSError):  # other parts are in it
            self.folder.rmdir()
        barrier()

    def _fingerprint(self, fields: dict) -> str:
        """Raises KeyError, IndexError or TypeError for fields of no image of the split."""
        files = list(self.split.files(fields["index"]))
        files += [file for writer in self.writers for file in writer.files(fields["name"])]
        files += [self.instances.path(fields["index"])] if self.instances else []
        parts = [self._settings, json.dumps(fields, sort_keys=True)]
        parts += [file_sha256(file) if file.is_file() else "missing" for file in files]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()
