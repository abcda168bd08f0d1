"""Video files through OpenCV: frames out of one, frames into one that is complete or absent."""

import math
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from engine.demo.h264 import H264, has_h264
from utils.errors import DataError, EnvironmentFault
from utils.files import publish

CODECS = (("mp4v", ".mp4"), ("MJPG", ".avi"))  # MPEG-4 in pip's OpenCV; the other one for frames it is too small for
USUAL_RATE = 25.0  # where a file doesn't say


class VideoReader:
    """Iterates once over the frames of a file: RGB (H,W,3) uint8, upright.

    Args:
        path: The file.

    Attributes:
        rate: Frames per second of the file.
        announced: Number of frames that the file says it has; 0: it doesn't say.

    Raises:
        DataError: The file is missing or not a video that OpenCV can decode; or, while iterating, has no frame.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        be_quiet()
        try:
            str(path).encode()  # OpenCV crashes on names that are not UTF-8
        except UnicodeEncodeError as error:
            raise DataError(f"{path}: its name is not UTF-8, which OpenCV can't open; rename the file") from error
        if not os.path.isfile(path):
            raise DataError(f"{path}: not a file; check --source")
        self._capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)  # absolute: never taken for a URL
        if not self._capture.isOpened():
            raise DataError(f"{path}: not a readable video (empty, cut off, or of an unknown format); replace the file")
        rate, announced = (self._capture.get(key) for key in (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT))
        self.rate = rate if 0 < rate <= 1000 else USUAL_RATE
        self.announced = int(announced) if math.isfinite(announced) and announced > 0 else 0

    def __iter__(self) -> Iterator[np.ndarray]:
        read, frame = self._capture.read()
        if not read:
            raise DataError(f"{self.path}: none of its frames can be decoded; replace the file")
        while read:
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
            read, frame = self._capture.read()

    def seems_cut_off(self, frames: int) -> bool:
        """Whether `frames` are fewer than announced by more than half a second, which sound may last longer."""
        return self.announced - frames > self.rate / 2


class VideoWriter:
    """A context in which frames are written; the file appears under its name when the context ends well.

    Args:
        path: Final name without suffix; it becomes `.mp4` (H.264 where there is an ffmpeg, else MPEG-4), or `.avi`
            (Motion JPEG) for frames that are too large for these. None stores odd sizes: the last row or column is
            left out.
        rate: Frames per second.

    Raises:
        EnvironmentFault: The folder can't be written, the disk is full, or OpenCV lacks the codecs.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self.path, self.rate = path, rate
        self._writer: cv2.VideoWriter | H264 | None = None
        self._temporary: Path | None = None
        self._size, self._frames = (0, 0), 0

    def write(self, frame: np.ndarray) -> None:
        """Add an RGB frame (H,W,3) uint8; all have the first one's size (`DataError` if not)."""
        size = frame.shape[1], frame.shape[0]
        if self._writer is None:
            self._open(size)
        if size != self._size:
            raise DataError(f"frame {self._frames}: {size[0]}x{size[1]}, those before {self._size[0]}x{self._size[1]}")
        try:
            self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        except OSError as error:  # of ffmpeg, which has ended
            raise self._fault() from error
        self._frames += 1

    def _open(self, size: tuple[int, int]) -> None:
        be_quiet()
        if has_h264(size):
            self._make_file(".mp4")
            self._writer, self._size = H264(self._temporary, self.rate, size), size
            return
        for codec, suffix in CODECS:
            self._make_file(suffix)
            code, self._size = cv2.VideoWriter_fourcc(*codec), size
            self._writer = cv2.VideoWriter(str(self._temporary), cv2.CAP_FFMPEG, code, self.rate, size)
            if self._writer.isOpened():
                return
            self._temporary.unlink()
        raise EnvironmentFault(
            f"{self.path}: this OpenCV can't write {size[0]}x{size[1]} video at {self.rate:g} frames a second;"
            " pip install opencv-python-headless, and check that the disk isn't full"
        )

    def _make_file(self, suffix: str) -> None:
        try:
            handle, name = tempfile.mkstemp(prefix=f".{self.path.name}.", suffix=suffix, dir=self.path.parent)
        except OSError as error:
            raise EnvironmentFault(f"{self.path.parent}: cannot be written ({error.strerror})") from error
        os.close(handle)
        self._temporary = Path(name)

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if self._writer is None:
            return
        self._writer.release()
        try:
            if kind is None:
                self._check()
                publish(self._temporary, self.path.with_name(self.path.name + self._temporary.suffix))
        finally:
            self._temporary.unlink(missing_ok=True)

    def _check(self) -> None:
        """OpenCV doesn't say when a write fails: such a file lacks its index or announces fewer frames."""
        written = cv2.VideoCapture(str(self._temporary.absolute()), cv2.CAP_FFMPEG).get(cv2.CAP_PROP_FRAME_COUNT)
        if written != self._frames:
            raise self._fault()

    def _fault(self) -> EnvironmentFault:
        return EnvironmentFault(f"{self.path}: cannot be written; free disk space or change the output folder")


def be_quiet() -> None:
    """Faults are reported in one line of ours, not also in the libraries' own."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
