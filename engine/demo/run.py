"""Segment image and video files and draw the result; a file that can't be used is reported, not fatal."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from engine.demo.drawing import Drawing, Predict
from engine.demo.sources import Source
from engine.demo.video import VideoOutput, draw_video
from utils.drawing import save_png
from utils.errors import DataError
from utils.logging import Progress
from utils.threads import BackgroundWriter, read_ahead

Read = Callable[[Path], np.ndarray]


def run_demo(
    sources: list[Source],
    read: Read,
    predict: Predict,
    drawing: Drawing,
    save_dir: Path,
    label_ids: bool,
    video: VideoOutput,
) -> tuple[int, list[str]]:
    """Write the pictures of each image, then each video's.

    Args:
        sources: Files and the names of their results.
        read: File -> RGB (H,W,3) uint8, raises `DataError`.
        predict: See `engine.demo.drawing`; its `DataError` is about that image alone.
        drawing: Predictions -> pictures.
        save_dir: Output folder.
        label_ids: Also write `label_ids_NAME.png` of images.
        video: What is written of videos.

    Returns:
        The number of files done, and a line for each that was skipped or isn't whole.
    """
    images = [source for source in sources if not source.is_video]
    problems = list(_draw_images(images, read, predict, drawing, save_dir, label_ids))
    done = len(images) - len(problems)
    for source in sources:
        if source.is_video:
            try:
                remark = draw_video(source, predict, drawing, save_dir, video)
                done += 1
                problems += [remark] if remark else []
            except DataError as error:
                problems.append(_skipped(source, error))
    return done, problems


def _draw_images(
    sources: list[Source], read: Read, predict: Predict, drawing: Drawing, save_dir: Path, label_ids: bool
) -> Iterator[str]:
    """Yields a line for each image that is skipped; the next is read and the last written meanwhile."""
    with BackgroundWriter() as write_behind:
        for source, image in Progress(read_ahead(_load(sources, read)), "demo", bool(sources), total=len(sources)):
            try:
                if isinstance(image, DataError):
                    raise image
                labels = predict(image, str(source.path))
            except DataError as error:
                yield _skipped(source, error)
                continue
            write_behind(_write_image, image, labels, drawing, save_dir, source.name, label_ids)


def _load(sources: Iterable[Source], read: Read) -> Iterator[tuple[Source, np.ndarray | DataError]]:
    for source in sources:
        try:
            if not os.path.isfile(source.path):  # reading from a pipe would wait for ever
                raise DataError(f"{source.path}: not a file (a folder, a link to nothing, a device)")
            yield source, read(source.path)
        except DataError as error:
            yield source, error


def _write_image(
    image: np.ndarray, labels: np.ndarray, drawing: Drawing, save_dir: Path, name: str, label_ids: bool
) -> None:
    save_png(save_dir / f"color_mask_{name}.png", drawing.mask(labels))
    save_png(save_dir / f"overlay_{name}.png", drawing.overlay(image, labels))
    if label_ids:
        save_png(save_dir / f"label_ids_{name}.png", drawing.label_ids(labels))


def _skipped(source: Source, error: DataError) -> str:
    text = str(error)
    return f"skipped: {text}" if str(source.path) in text else f"skipped: {source.path}: {text}"
