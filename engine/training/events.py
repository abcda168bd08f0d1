"""TensorBoard event files: written without delay, and what a resumed run will write again is taken out of them.

tensorboardX's own `purge_step` can't: it hides values by their step alone, but a snapshot of an epoch's last step holds
that step's `train/` values and not yet the epoch's, and `SummaryWriter.flush` doesn't wait for the writer's queue.
"""

import os
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType

import numpy as np

from utils.errors import OptionError
from utils.files import write_atomically
from utils.optional import import_package

NAMES = "events.out.tfevents.*"
OWNER = "run.txt"  # beside events that aren't in their run's folder: where that is
LENGTH, CHECKSUM = struct.Struct("<Q"), 4  # a record: length, its checksum, an event, its checksum


def _tensorboard(module: str) -> ModuleType:
    return import_package(f"tensorboardX.{module}", "TensorBoard events", "pip install tensorboardX")


def check_tensorboard(flag: str) -> None:
    """Raises `EnvironmentFault`, naming `flag`, if no events can be written here."""
    import_package("tensorboardX.event_file_writer", flag, "pip install tensorboardX, or leave the flag out")


def check_owner(folder: Path, run: Path) -> None:
    """Raises `OptionError` if the events in `folder` are those of another run than that in `run`."""
    mark, owner = folder / OWNER, run.resolve()
    if mark.is_file():
        owner = Path(os.fsdecode(mark.read_bytes().rstrip(b"\n")))
    elif (folder / "config.json").exists():  # a run that keeps its events itself
        owner = folder.resolve()
    if owner != run.resolve() and (owner / "config.json").exists() and not (run.exists() and owner.samefile(run)):
        raise OptionError(f"--tb_path: {folder} has the events of {owner}; name another --tb_path, --tb_tag or --exp")


def mark_owner(folder: Path, run: Path) -> None:
    """Say in `folder`, unless it is `run` itself, whose events it has."""
    if folder.resolve() != run.resolve():
        write_atomically(folder / OWNER, lambda file: file.write(os.fsencode(run.resolve()) + b"\n"))


class EventWriter:
    """One new event file in `folder`, which holds all that was added when `flush` returns."""

    def __init__(self, folder: Path) -> None:
        self._summary, self._event = _tensorboard("summary"), _tensorboard("proto.event_pb2").Event
        folder.mkdir(parents=True, exist_ok=True)
        suffix = f".{time.time_ns()}"  # two may start in one second
        self._writer = _tensorboard("event_file_writer").EventsWriter(str(folder / "events"), suffix)
        self.flush, self.close = self._writer.flush, self._writer.close

    def add_scalars(self, values: Mapping[str, float], step: int) -> None:
        """Figures by their tags."""
        for tag, value in values.items():
            self._add(self._summary.scalar(tag, value), step)

    def add_image(self, tag: str, image: np.ndarray, step: int) -> None:
        """An RGB picture (H,W,3) uint8."""
        self._add(self._summary.image(tag, image, dataformats="HWC"), step)

    def _add(self, value: object, step: int) -> None:
        self._writer.write_event(self._event(wall_time=time.time(), step=step, summary=value))


def filter_events(folder: Path, keep: Callable[[int, str], bool]) -> None:
    """Rewrite the event files of `folder` without the values that `keep` refuses, and without a half-written end.

    Args:
        folder: May be missing.
        keep: (step, tag) -> False for what is to go.
    """
    for leftover in folder.glob(f".{NAMES}.tmp"):
        leftover.unlink()
    for path in folder.glob(NAMES):
        data = path.read_bytes()
        wanted = (record for record, step, tags in read_events(data) if all(keep(step, tag) for tag in tags))
        if (kept := b"".join(wanted)) != data:
            write_atomically(path, lambda file, kept=kept: file.write(kept))


def read_events(data: bytes) -> Iterator[tuple[bytes, int, dict[str, float]]]:
    """The records of an event file up to a damaged one: their bytes, step, and values by tag (0 for a picture)."""
    parse, start = _tensorboard("proto.event_pb2").Event.FromString, 0
    from google.protobuf.message import DecodeError  # comes with tensorboardX

    while start + LENGTH.size <= len(data):
        first = start + LENGTH.size + CHECKSUM
        last = first + LENGTH.unpack_from(data, start)[0]
        if last + CHECKSUM > len(data):
            return
        try:
            event = parse(data[first:last])
        except DecodeError:
            return
        yield data[start : last + CHECKSUM], event.step, {v.tag: v.simple_value for v in event.summary.value}
        start = last + CHECKSUM
