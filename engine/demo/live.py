"""Segment a camera or stream as it comes and record the result."""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain, count, islice
from pathlib import Path

import numpy as np

from engine.demo.drawing import Drawing
from engine.demo.legend import add_caption
from engine.demo.options import DemoOptions
from engine.demo.streams import Frame, Stream
from engine.demo.video import Rate
from engine.demo.video_files import VideoWriter
from engine.inference.build import LoadedModel
from utils.logging import Progress, get_logger
from utils.signals import StopRequest
from utils.threads import BackgroundWriter

MOST_RATE = 30.0  # frames per second of a recording
POLL = 0.2  # seconds between two looks at signals
KEPT = 1000  # latencies


class Pace:
    """How many frames of a recording a drawn frame stands for, so that it plays as fast as things happened.

    Args:
        rate: Of the recording; breaks are shortened to a second.
    """

    def __init__(self, rate: float) -> None:
        self.rate, self._start, self._written = rate, None, 0

    def copies(self, arrived: float) -> int:
        """Of the frame that arrived at `arrived` seconds; 0 if the one before takes its place."""
        self._start = arrived if self._start is None else self._start
        due = max(0, round((arrived - self._start) * self.rate) + 1 - self._written)
        most = max(1, round(self.rate))
        if due > most:
            self._start += (due - most) / self.rate
            due = most
        self._written += due
        return due


@dataclass
class Tally:
    """What was drawn so far, and the last `KEPT` times in seconds from a frame's arrival to its labels."""

    frames: int = 0
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))

    def describe(self, stream: Stream) -> str:
        """A line."""
        half, most = np.quantile(self.latencies, (0.5, 0.95))
        return (
            f"{self.frames} frames drawn, {stream.dropped} dropped (the newest comes first), {stream.breaks} breaks;"
            f" from arrival to labels {1e3 * half:.0f} ms, for 95 % at most {1e3 * most:.0f} ms"
        )


def draw_stream(stream: Stream, name: str, model: LoadedModel, drawing: Drawing, options: DemoOptions) -> int:
    """Record `overlay_NAME.mp4` until the stream ends, `--max_frames`, `--seconds`, SIGINT or SIGTERM; a recording of
    that name is kept, the new one gets a number.

    Returns:
        The number of frames that were drawn; 0 if it was asked to stop before the first one.

    Raises:
        EnvironmentFault, DataError: The stream ended, after the recording was finished; or it can't be written.
    """
    tally, rate, folder = Tally(), Rate(), Path(options.save_dir)
    name = _free_name(folder, name)
    with StopRequest() as stop, stream:
        stop.saveable = True
        frames = _frames(stream, stop, options)
        first = list(islice(frames, 1))  # before a bar is shown
        with ExitStack() as stack:
            progress = Progress(chain(first, frames), name, bool(first), total=options.max_frames)
            recorder: Recorder | None = None
            for frame in progress:
                labels, speed = model.label_image(frame.image, f"{name}, frame {tally.frames}"), rate.tick()
                tally.frames += 1
                tally.latencies.append(time.monotonic() - frame.arrived)
                fps = f"{speed:.2f} fps" if speed else ""
                progress.show(fps=fps.removesuffix(" fps"), dropped=stream.dropped)
                recorder = recorder or Recorder(stack, folder, name, min(stream.rate, MOST_RATE), drawing, options)
                recorder.add(frame, labels, fps)
    if tally.frames:
        get_logger().info(f"overlay_{name} is in {folder}: {tally.describe(stream)}")
    if stream.fault is not None:
        raise stream.fault
    return tally.frames


class Recorder:
    """Draws frames into videos on a thread.

    Args:
        stack: Finishes the videos when it is left.
        folder: For the files.
        name: The NAME in theirs.
        rate: Frames per second.
        drawing: Predictions -> pictures.
        options: What is drawn.
    """

    def __init__(
        self, stack: ExitStack, folder: Path, name: str, rate: float, drawing: Drawing, options: DemoOptions
    ) -> None:
        self._drawing, self._options, self._pace, self._mask = drawing, options, Pace(rate), None
        self._overlay = stack.enter_context(VideoWriter(folder / f"overlay_{name}", rate))
        if options.mask_video:
            self._mask = stack.enter_context(VideoWriter(folder / f"color_mask_{name}", rate))
        self._behind = stack.enter_context(BackgroundWriter())  # last: all is written before a file is finished

    def add(self, frame: Frame, labels: np.ndarray, caption: str) -> None:
        """Draw a frame with train ids (H,W) uint8."""
        if copies := self._pace.copies(frame.arrived):
            self._behind(self._write, frame.image, labels, caption, copies)

    def _write(self, image: np.ndarray, labels: np.ndarray, caption: str, copies: int) -> None:
        picture = self._drawing.overlay(image, labels, steady=True)
        if self._options.show_fps and caption:
            picture = add_caption(picture, caption)
        mask = None if self._mask is None else self._drawing.classes.colorize(labels)
        for _ in range(copies):
            self._overlay.write(picture)
            if mask is not None:
                self._mask.write(mask)


def _frames(stream: Stream, stop: StopRequest, options: DemoOptions) -> Iterator[Frame]:
    """Newest frames until something ends them; `--seconds` count from the first one."""
    taken, end = 0, None
    while not stop.asked and (options.max_frames is None or taken < options.max_frames):
        frame = stream.newest(POLL)
        now = time.monotonic()
        if frame is not None:
            end = now + options.seconds if end is None and options.seconds else end
            taken += 1
            yield frame
        elif stream.fault is not None:
            return
        if end is not None and now >= end:
            return


def _free_name(folder: Path, name: str) -> str:
    choices = (name if i == 1 else f"{name}_{i}" for i in count(1))
    return next(choice for choice in choices if not list(folder.glob(f"*_{choice}.*")))
