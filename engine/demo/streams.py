"""The newest frame of a camera or stream, read on a thread of its own, with patience when it breaks off."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from engine.demo.captures import Capture
from engine.demo.video_files import USUAL_RATE
from utils.errors import DataError, EnvironmentFault, FENetError
from utils.logging import get_logger

PAUSE = 0.5  # seconds between two tries


@dataclass(frozen=True)
class Frame:
    """RGB (H,W,3) uint8, and when it arrived in seconds of `time.monotonic`."""

    image: np.ndarray
    arrived: float


class Stream:
    """A context that keeps the newest frame of a source; what the caller is too slow for is dropped and counted.

    Args:
        connect: Opens the source; its faults end the stream, later on they are tried again.
        shown: The source in messages.
        patience: Seconds without a frame after a break until the stream is given up.

    Attributes:
        rate: Frames per second that the source says it has.
        dropped: Frames that were replaced by a newer one.
        breaks: How often it broke off.
        fault: Why it ended, or None.
    """

    def __init__(self, connect: Callable[[], Capture], shown: str, patience: float) -> None:
        self.rate, self.dropped, self.breaks = USUAL_RATE, 0, 0
        self.fault: Exception | None = None
        self._connect, self._shown, self._patience = connect, shown, patience
        self._newest: tuple[np.ndarray, float] | None = None
        self._size: tuple[int, int] | None = None
        self._changed, self._closing = threading.Condition(), threading.Event()
        self._thread = threading.Thread(target=self._read_all, name="stream", daemon=True)  # a camera may hang

    def __enter__(self) -> "Stream":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join(2.0)

    def newest(self, wait: float) -> Frame | None:
        """The newest frame that wasn't taken yet, of the first one's size; None: there was none for `wait` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self.fault is not None, wait)
            taken, self._newest = self._newest, None
        if taken is None:
            return None
        image, arrived = taken
        self._size = self._size or (image.shape[1], image.shape[0])
        if (image.shape[1], image.shape[0]) != self._size:  # it came back in another one
            image = cv2.resize(image, self._size, interpolation=cv2.INTER_AREA)
        return Frame(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), arrived)

    def _read_all(self) -> None:
        capture = None
        try:
            capture = self._connect()
            rate = capture.get(cv2.CAP_PROP_FPS)
            self.rate = rate if 0 < rate <= 1000 else USUAL_RATE
            if not self._read_on(capture):
                raise DataError(f"{self._shown}: opens, but gives no frame; check the camera and --source")
            while not self._closing.is_set():
                capture.release()
                capture = self._reconnect()
        except Exception as error:
            with self._changed:
                self.fault = None if self._closing.is_set() else error
                self._changed.notify()
        finally:
            if capture is not None:
                capture.release()

    def _read_on(self, capture: Capture) -> bool:
        """Take frames until there is none; whether there was one."""
        any_frame = False
        while not self._closing.is_set():
            read, image = capture.read()
            if not read:
                return any_frame
            any_frame = True
            with self._changed:
                self.dropped += self._newest is not None
                self._newest = image, time.monotonic()
                self._changed.notify()
        return True

    def _reconnect(self) -> Capture:
        """Try until frames have come again and have ended. Raises `EnvironmentFault` when patience is over."""
        if self._patience and not self.breaks:
            get_logger().warning(
                f"{self._shown}: broke off; trying again for {self._patience:g} s each time (--reconnect)"
            )
        self.breaks += 1
        end = time.monotonic() + self._patience
        while time.monotonic() < end and not self._closing.wait(min(PAUSE, self._patience)):
            try:
                capture = self._connect()
            except FENetError:
                continue
            if self._read_on(capture):
                return capture
            capture.release()
        raise EnvironmentFault(
            f"{self._shown}: broke off and didn't come back in {self._patience:g} s; check it, or raise --reconnect"
        )
