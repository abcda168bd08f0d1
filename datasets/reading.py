"""Image and label files -> arrays; every fault becomes a `DataError` that names the file."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from datasets.decoding import (
    FORMATS,
    MAX_PIXELS,
    SINGLE_DEEP,
    UPRIGHT,
    Header,
    decode_picture,
    read_bytes,
    read_header,
    turn,
    turn_back,
)
from datasets.deep import deep_values, to_8_bits, value_range
from datasets.png import PNG_GRAY, PNG_RGB, decode_png, is_png, may_be_turned
from utils.errors import DataError

__all__ = ["FORMATS", "IMAGE_SUFFIXES", "MAX_PIXELS", "image_size", "read_color_label", "read_image", "read_label"]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
WIDE = ("I;16", "I;16L", "I;16B", "I")  # Pillow's modes of integers with more than 8 bits


def read_image(
    path: Path,
    upright: bool | Callable[[Header], bool] = True,
    largest: Callable[[Header], int | None] | None = None,
) -> np.ndarray:
    """Image file of any mode -> RGB (H,W,3) uint8; transparency is dropped.

    Args:
        path: The file.
        upright: Turn the pixels as EXIF says, or whether to, asked for a picture that isn't upright.
        largest: The value that becomes 255, asked for a picture of more than 8 bits; by default, and where it gives
            None, the end of the smallest range that holds the picture's values: 8, 10, 12, 14 or 16 bits, of floats 1
            or 255.

    Raises:
        DataError: The file is missing, truncated, not an image, larger than `MAX_PIXELS`, or its values are in no
            known range.
    """
    data = read_bytes(path)
    if is_png(data, PNG_RGB) and not may_be_turned(data):
        return decode_png(data, path, cv2.IMREAD_COLOR_RGB)
    picture, header = decode_picture(data, path)
    pixels = _deep_pixels(data, picture, header, path, largest) if header.is_deep else np.array(picture.convert("RGB"))
    if header.orientation == UPRIGHT:
        return pixels
    wanted, is_upright = upright(header) if callable(upright) else upright, picture.format == "TIFF"
    if wanted == is_upright:
        return pixels
    return (turn if wanted else turn_back)(pixels, header.orientation)


def _deep_pixels(
    data: bytes, picture: Image.Image, header: Header, path: Path, largest: Callable[[Header], int | None] | None
) -> np.ndarray:
    values = deep_values(data, picture, path)
    return _as_rgb(values, header.largest or (largest(header) if largest else None), path)


def _as_rgb(values: np.ndarray, top: int | None, path: Path) -> np.ndarray:
    pixels = to_8_bits(values, top or value_range(values, path), path)
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)


def to_rgb(picture: Image.Image) -> np.ndarray:
    """Picture in memory, of any mode -> RGB (H,W,3) uint8; transparency is dropped, and it isn't turned.

    Raises:
        DataError: It has more than 8 bits, and its values are in no known range.
    """
    if picture.mode in SINGLE_DEEP:
        return _as_rgb(np.asarray(picture), None, Path("image"))
    return np.array(picture.convert("RGB"))


def read_label(path: Path) -> np.ndarray:
    """Label file of ids -> ids (H,W) uint8.

    Ids are 8-bit grey or palette indices, 1-bit (0 and 1), grey with transparency (which is dropped), colours whose
    channels are equal, or wider integers of 0 to 255.

    Raises:
        DataError: The file is missing, unreadable, holds colours or larger numbers.
    """
    data = read_bytes(path)
    if is_png(data, PNG_GRAY):
        return decode_png(data, path, cv2.IMREAD_GRAYSCALE)
    if is_png(data, PNG_GRAY, 2) or is_png(data, PNG_GRAY, 4):  # decoders spread these over 0 to 255
        raise DataError(f"{path}: a label of 2 or 4 bits a pixel; save ids as 8-bit PNG with one channel")
    picture, header = decode_picture(data, path)
    if header.mode in ("L", "P"):
        return np.array(picture)
    if header.mode == "1":
        return np.array(picture).astype(np.uint8)
    if header.mode in ("LA", "RGB", "RGBA"):
        return _single_channel(np.array(picture)[..., : 1 if header.mode == "LA" else 3], path)
    if header.mode in WIDE:
        return _narrow(np.asarray(picture), path)
    if header.is_deep and header.mode != "F":
        return _narrow(_single_channel(deep_values(data, picture, path), path), path)
    raise DataError(f"{path}: a label of mode {header.mode}; save ids as 8-bit PNG with one channel")


def _single_channel(values: np.ndarray, path: Path) -> np.ndarray:
    """(H,W,C) whose channels are equal -> (H,W)."""
    first = values[..., 0]
    different = (values != first[..., None]).any(axis=2)
    if different.any():
        row, column = np.argwhere(different)[0].tolist()
        color = ", ".join(str(value) for value in values[row, column].tolist())
        raise DataError(
            f"{path}: a label of colours, such as {color} at x {column}, y {row}; save ids, not colours, as 8-bit PNG"
            ' with one channel; colours are read by --dataset folder with "masks": "color" in its classes.json'
        )
    return np.ascontiguousarray(first)


def _narrow(values: np.ndarray, path: Path) -> np.ndarray:
    """Integers (H,W) of 0 to 255 -> uint8."""
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 255:
        raise DataError(
            f"{path}: a label of {8 * values.dtype.itemsize} bits that holds {low if low < 0 else high}, and ids are 0"
            " to 255 (instance ids, or a depth map?); save the class ids as 8-bit PNG"
        )
    return values.astype(np.uint8)


def read_color_label(path: Path) -> np.ndarray:
    """Label file of colours -> RGB (H,W,3) uint8; palettes give their colours, transparency is dropped.

    Raises:
        DataError: The file is missing, unreadable, or has more than 8 bits a channel.
    """
    data = read_bytes(path)
    if is_png(data, PNG_RGB):
        return decode_png(data, path, cv2.IMREAD_COLOR_RGB)
    picture, header = decode_picture(data, path)
    if header.is_deep:
        raise DataError(f"{path}: a label of mode {header.mode}; save its colours as 8-bit RGB PNG")
    return np.array(picture.convert("RGB"))


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) of the stored pixels, from the file's header alone.

    Raises:
        DataError: The file is missing, not an image, or larger than `MAX_PIXELS`.
    """
    return read_header(path).size
