"""Segment a video file and draw the result into another one."""

import time
from collections import deque
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

import numpy as np

from engine.demo.drawing import Drawing
from engine.demo.legend import add_caption
from engine.demo.options import DemoOptions
from engine.demo.sources import Source
from engine.demo.video_files import VideoReader, VideoWriter
from engine.inference.build import LoadedModel
from utils.logging import Progress
from utils.threads import BackgroundWriter, read_ahead


class Rate:
    """Events per second over the last `window` events."""

    def __init__(self, window: int = 30) -> None:
        self._times: deque[float] = deque(maxlen=window)

    def tick(self) -> float | None:
        """Count an event now; the rate, or None at the first."""
        self._times.append(time.perf_counter())
        seconds = self._times[-1] - self._times[0]
        return (len(self._times) - 1) / seconds if seconds else None


def draw_video(source: Source, model: LoadedModel, drawing: Drawing, options: DemoOptions) -> str | None:
    """Write `overlay_NAME.mp4` with the video's own frame rate; reading and writing go on beside the prediction.

    Returns:
        A line if the video seems to be cut off; what there is of it is drawn.

    Raises:
        DataError: The video can't be read.
        EnvironmentFault: The result can't be written.
    """
    video, rate, frames, save_dir = VideoReader(source.path), Rate(), 0, Path(options.save_dir)
    total = min((number for number in (video.announced, options.max_frames) if number), default=None)
    progress = Progress(read_ahead(islice(video, options.max_frames)), source.name, True, total=total)
    with ExitStack() as stack:
        overlay = stack.enter_context(VideoWriter(save_dir / f"overlay_{source.name}", video.rate))
        mask = None
        if options.mask_video:
            mask = stack.enter_context(VideoWriter(save_dir / f"color_mask_{source.name}", video.rate))
        write_behind = stack.enter_context(BackgroundWriter())  # entered last: all is written before a file is finished

        def write(image: np.ndarray, labels: np.ndarray, text: str) -> None:
            picture = drawing.overlay(image, labels, steady=True)
            overlay.write(add_caption(picture, text) if options.show_fps and text else picture)
            if mask is not None:
                mask.write(drawing.classes.colorize(labels))

        for image in progress:
            labels, speed = model.label_image(image, f"{source.path}, frame {frames}"), rate.tick()
            fps = f"{speed:.2f}" if speed else ""
            progress.show(fps=fps)
            write_behind(write, image, labels, f"{fps} fps" if fps else "")
            frames += 1
    if options.max_frames is None and video.seems_cut_off(frames):
        return f"{source.path}: ends after {frames} of {video.announced} frames; it may be cut off"
    return None
