"""Segment image and video files and draw the result; a file that can't be used is reported, not fatal."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datasets.base import FileItem, FileSplit
from engine.demo.addresses import Address
from engine.demo.captures import open_capture
from engine.demo.drawing import Drawing
from engine.demo.live import draw_stream
from engine.demo.options import DemoOptions
from engine.demo.sources import Source
from engine.demo.streams import Stream
from engine.demo.video import draw_video
from engine.inference.build import LoadedModel
from utils.drawing import SMOOTH, confidence_levels, save_png, uncertainty_overlay
from utils.errors import DataError
from utils.logging import Progress, get_logger
from utils.threads import BackgroundWriter, read_ahead


@dataclass(frozen=True)
class Demo:
    """Files -> pictures and videos in `options.save_dir`.

    Attributes:
        model: Its `DataError` is about one image alone.
        drawing: Predictions -> pictures.
        options: What is written.
    """

    model: LoadedModel
    drawing: Drawing
    options: DemoOptions

    def run(self, sources: list[Source], part: slice = slice(None)) -> tuple[int, list[str]]:
        """Write the pictures of each image, then each video's.

        Args:
            sources: All of them: their images of more than 8 bits have one range.
            part: Of those that are drawn here.

        Returns:
            The number of files done, and a line for each that was skipped or isn't whole.
        """
        items = [FileItem(source.name, Path(source.path), None) for source in sources if not source.is_video]
        photos = FileSplit("demo", "images", self.drawing.classes, items)
        images = [source for source in sources[part] if not source.is_video]
        problems = list(self._draw_images(images, photos))
        done = len(images) - len(problems)
        for source in sources[part]:
            if source.is_video:
                try:
                    remark = draw_video(source, self.model, self.drawing, self.options)
                    done += 1
                    problems += [remark] if remark else []
                except DataError as error:
                    problems.append(_skipped(source, error))
        return done, problems

    def run_stream(self, address: Address) -> int:
        """Record a camera or stream; the number of its frames, and faults, are those of `draw_stream`."""
        stream = Stream(lambda: open_capture(address), address.shown, self.options.reconnect)
        return draw_stream(stream, address.name, self.model, self.drawing, self.options)

    def _draw_images(self, sources: list[Source], photos: FileSplit) -> Iterator[str]:
        """Yields a line for each image that is skipped; the next is read and the last written meanwhile."""
        with BackgroundWriter() as write_behind:
            for source, image in Progress(
                read_ahead(_load(sources, photos)), "demo", bool(sources), total=len(sources)
            ):
                try:
                    if isinstance(image, DataError):
                        raise image
                    prediction = self._predict(image, str(source.path))
                except DataError as error:
                    yield _skipped(source, error)
                    continue
                write_behind(self._write_image, source.name, image, *prediction)
        for kind, largest in photos.rules.found_ranges():
            get_logger().info(f"{kind} of more than 8 bits: {largest}, the range of all of them, becomes 255")

    def _predict(self, image: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray | None]:
        """Labels (H,W) of an image, and where asked for their probabilities."""
        if self.options.confidence:
            return self.model.label_with_confidence(image, name)
        return self.model.label_image(image, name), None

    def _write_image(self, name: str, image: np.ndarray, labels: np.ndarray, confidence: np.ndarray | None) -> None:
        folder = Path(self.options.save_dir)
        save_png(folder / f"color_mask_{name}.png", self.drawing.classes.colorize(labels))
        save_png(folder / f"overlay_{name}.png", self.drawing.overlay(image, labels))
        if confidence is not None:
            save_png(folder / f"confidence_{name}.png", confidence_levels(confidence), SMOOTH)
            save_png(folder / f"uncertainty_{name}.png", uncertainty_overlay(image, confidence), SMOOTH)
        if self.options.label_ids:
            save_png(folder / f"label_ids_{name}.png", self.drawing.classes.to_label_ids(labels))


def _load(sources: list[Source], photos: FileSplit) -> Iterator[tuple[Source, np.ndarray | DataError]]:
    places = {name: index for index, name in enumerate(photos.names)}
    for source in sources:
        try:
            if not os.path.isfile(source.path):  # reading from a pipe would wait for ever
                raise DataError(f"{source.path}: not a file (a folder, a link to nothing, a device)")
            yield source, photos.load_image(places[source.name])
        except DataError as error:
            yield source, error


def _skipped(source: Source, error: DataError) -> str:
    text = str(error)
    return f"skipped: {text}" if str(source.path) in text else f"skipped: {source.path}: {text}"
