"""TensorBoard event files: written without delay, and what a resumed run will write again is taken out of them."""

import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event

from utils.files import write_atomically

NAMES = "events.out.tfevents.*"
LENGTH, CHECKSUM = struct.Struct("<Q"), 4  # a record: length, its checksum, an event, its checksum


class EventWriter:
    """One new event file in `folder`.

    tensorboardX's `SummaryWriter` hands values to a thread, whose queue `flush` doesn't wait for; here they are in the
    file when `flush` returns.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._writer = EventsWriter(str(folder / "events"), f".{time.time_ns()}")  # two may start in one second

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        """One figure."""
        self._add(summary.scalar(tag, value), step)

    def add_image(self, tag: str, image: np.ndarray, step: int) -> None:
        """An RGB picture (H,W,3) uint8."""
        self._add(summary.image(tag, image, dataformats="HWC"), step)

    def _add(self, value: summary.Summary, step: int) -> None:
        self._writer.write_event(Event(wall_time=time.time(), step=step, summary=value))

    def flush(self) -> None:
        """Hand everything to the system."""
        self._writer.flush()

    def close(self) -> None:
        """Flush and close the file."""
        self._writer.close()


def filter_events(folder: Path, keep: Callable[[int, str], bool]) -> None:
    """Rewrite the event files of `folder` without the values that `keep` refuses, and without a half-written end.

    Args:
        folder: May be missing.
        keep: (step, tag) -> False for what is to go.
    """
    for leftover in folder.glob(f".{NAMES}.tmp"):
        leftover.unlink()
    for path in sorted(folder.glob(NAMES)):
        data = path.read_bytes()
        kept = b"".join(record for record, event in _records(data) if _wanted(event, keep))
        if kept != data:
            write_atomically(path, lambda file, kept=kept: file.write(kept))


def _records(data: bytes) -> Iterator[tuple[bytes, Event]]:
    """The complete records of a file, as bytes and as events."""
    start = 0
    while start + LENGTH.size <= len(data):
        first = start + LENGTH.size + CHECKSUM
        last = first + LENGTH.unpack_from(data, start)[0]
        try:
            event = Event.FromString(data[first:last])
        except DecodeError:
            return
        if last + CHECKSUM > len(data):
            return
        yield data[start : last + CHECKSUM], event
        start = last + CHECKSUM


def _wanted(event: Event, keep: Callable[[int, str], bool]) -> bool:
    return all(keep(event.step, value.tag) for value in event.summary.value)
