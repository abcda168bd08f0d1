"""Cameras and streams through OpenCV, with plain words where they can't be opened."""

import socket
import time
from typing import Protocol

import cv2
import numpy as np

from engine.demo.addresses import Address
from engine.demo.video_files import be_quiet
from utils.errors import DataError, EnvironmentFault, FENetError

TIMEOUT = 10.0  # seconds for an answer and for a frame


class Capture(Protocol):
    """What is used of `cv2.VideoCapture`."""

    def read(self) -> tuple[bool, np.ndarray | None]:
        """Whether there is one, and the next frame, BGR (H,W,3) uint8."""

    def get(self, key: int) -> float:
        """A property, 0 if it isn't known."""

    def release(self) -> None:
        """Close it."""


def open_capture(address: Address, timeout: float = TIMEOUT) -> Capture:
    """Connect.

    Raises:
        EnvironmentFault: There is no such camera, or nothing answers in time.
        DataError: What answers sends no video that OpenCV reads.
    """
    be_quiet()
    if address.place is None:
        capture = cv2.VideoCapture(address.target)
        if not capture.isOpened():
            raise EnvironmentFault(
                f"{address.shown}: can't be opened; check that it is there, that no other program has it, --source"
            )
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        return capture
    start, milliseconds = time.monotonic(), int(1e3 * timeout)
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, milliseconds, cv2.CAP_PROP_READ_TIMEOUT_MSEC, milliseconds]
    one_thread = [cv2.CAP_PROP_N_THREADS, 1]  # H.264 on N threads holds back N - 1 frames
    capture = cv2.VideoCapture(address.target, cv2.CAP_FFMPEG, limits + one_thread)
    if not capture.isOpened():
        raise _explain(address, timeout, time.monotonic() - start)
    if str(address.target).lower().startswith("http") and capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0:
        capture.release()
        raise DataError(f"{address.shown}: a video file, not a live stream; download it and name the file in --source")
    return capture


def _explain(address: Address, timeout: float, seconds: float) -> FENetError:
    """Why a URL couldn't be opened, which OpenCV doesn't say; it took `seconds` to find out."""
    if seconds >= timeout:
        return EnvironmentFault(
            f"{address.shown}: no answer in {timeout:g} s; check --source, the camera and the network"
        )
    try:  # only now: some cameras serve few connections
        socket.create_connection(address.place, timeout).close()
    except (OSError, UnicodeError) as error:  # the latter for a name that no host can have
        reason = getattr(error, "strerror", None) or error
        return EnvironmentFault(
            f"{address.shown}: can't be reached ({reason}); check --source, the camera and the network"
        )
    return DataError(f"{address.shown}: answers, but not with a video that OpenCV reads; check path, user and password")
