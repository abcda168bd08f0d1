"""Pixels of more than 8 bits -> 8 bits, by a range that is one for all images of a split.

Cameras put 10, 12 or 14 bits into files of 16, and float images hold 0 to 1 or 0 to 255; few files say which. The
range is then the smallest that holds the values: of one image, or of several that decide for all.
"""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from datasets.decoding import SINGLE_DEEP, decode_picture, read_bytes
from utils.errors import DataError

INTEGER_RANGES = (255, 1023, 4095, 16383, 65535)  # 8, 10, 12, 14 and 16 bits
FLOAT_RANGES = (1, 255)
OUTSIDE = 0.01  # of the values may lie outside of the range and are clipped


def deep_values(data: bytes, picture: Image.Image, path: Path) -> np.ndarray:
    """Values of a decoded deep picture, (H,W) or RGB (H,W,3), of any dtype; turned as `picture` is.

    Raises:
        DataError: The colours can't be decoded.
    """
    if picture.mode in SINGLE_DEEP:
        return np.asarray(picture)
    try:
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
        values = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        values = None
    if values is None:
        raise DataError(f"{path}: colours of 16 bits that can't be decoded; save the image with 8 bits")
    return values[..., ::-1]  # OpenCV has BGR


def file_range(path: Path) -> int:
    """The range of a deep image file: what it says, else that of its values. Raises `DataError` if it has none."""
    data = read_bytes(path)
    picture, header = decode_picture(data, path)
    return header.largest or value_range(deep_values(data, picture, path), path)


def value_range(values: np.ndarray, path: Path) -> int:
    """The largest value of the smallest range that holds all values, integers or floats.

    Raises:
        DataError: A value is negative, not finite or larger than any range; the message names `path`.
    """
    is_float = values.dtype.kind == "f"
    ranges = FLOAT_RANGES if is_float else INTEGER_RANGES
    low, high = float(values.min()), float(values.max())
    slack = OUTSIDE if is_float else 0
    if not (low >= -slack * ranges[0] and high <= ranges[-1]):  # not finite: no comparison holds
        allowed = "0 to 1 or 0 to 255" if is_float else "0 to 65535"
        raise DataError(
            f"{path}: its {'float' if is_float else 'integer'} values reach from {low:g} to {high:g}, and images hold"
            f" {allowed}; scale them and save the image with 8 bits"
        )
    return next(top for top in ranges if high <= top * (1 + slack))


def to_8_bits(values: np.ndarray, top: int, path: Path) -> np.ndarray:
    """Values (H,W) or (H,W,3) of 0 to `top` -> uint8 of 0 to 255; a few outside of the range are clipped.

    Raises:
        DataError: Too many are outside, or one isn't finite.
    """
    value_range(values, path)
    outside = np.count_nonzero(values > top * (1 + OUTSIDE)) / values.size
    if outside > OUTSIDE:
        raise DataError(
            f"{path}: {outside:.0%} of its values are above {top}, which images of this data set reach at most; its"
            f" own go up to {float(values.max()):g}; save all images with 8 bits"
        )
    clipped = np.clip(values, 0, top)
    if values.dtype.kind == "f":
        return np.rint(clipped * (255 / top)).astype(np.uint8)
    return (clipped.astype(np.int64) * 255 // top).astype(np.uint8)
