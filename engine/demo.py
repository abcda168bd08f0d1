"""Segment the image files of a folder and draw the result; a file that can't be read is reported, not fatal."""

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from torch import Tensor

from utils.drawing import overlay, save_png
from utils.errors import DataError
from utils.logging import Progress


def find_images(folder: str | Path, suffixes: Iterable[str]) -> list[Path]:
    """The image files of `folder`, sorted by name.

    Raises:
        DataError: The folder is missing, or holds no image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; check --demo_folder")
    images = sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes and path.is_file())
    if not images:
        raise DataError(f"{folder}: holds no images ({', '.join(suffixes)}); check --demo_folder")
    return images


def output_names(images: list[Path]) -> list[str]:
    """A unique name for each image: its stem, with the extension where several share it."""
    counts = Counter(path.stem for path in images)
    return [path.stem if counts[path.stem] == 1 else path.name.replace(".", "_") for path in images]


def run_demo(
    images: list[Path],
    read: Callable[[Path], np.ndarray],
    predict: Callable[[np.ndarray], Tensor],
    colorize: Callable[[np.ndarray], np.ndarray],
    save_dir: Path,
    opacity: float,
) -> tuple[int, list[str]]:
    """Write `color_mask_NAME.png` and `overlay_NAME.png` for each image.

    Args:
        images: Files.
        read: File -> RGB (H,W,3) uint8, raises `DataError`.
        predict: RGB (H,W,3) uint8 -> train ids (H,W).
        colorize: Train ids (H,W) uint8 -> RGB (H,W,3) uint8.
        save_dir: Output folder.
        opacity: Of the colours over the image, 0 to 1.

    Returns:
        The number of images done, and a line for each one that could not be read.
    """
    done, failures = 0, []
    for path, name in Progress(list(zip(images, output_names(images), strict=True)), "demo", True):
        try:
            image = read(path)
        except DataError as error:
            failures.append(str(error))
            continue
        colors = colorize(predict(image).numpy().astype(np.uint8))
        save_png(save_dir / f"color_mask_{name}.png", colors)
        save_png(save_dir / f"overlay_{name}.png", overlay(image, colors, opacity))
        done += 1
    return done, failures
