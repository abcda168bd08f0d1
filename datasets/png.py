"""PNGs of 8 bits, the form of most data sets, by the fastest decoder there is."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np

from datasets.decoding import MAX_PIXELS
from utils.errors import DataError

try:
    import pyspng  # optional: only faster
except ImportError:
    pyspng = None

PNG_HEADER = struct.Struct(">8s4x4sIIBB")  # signature, name of the first chunk, width, height, bits, kind of colour
PNG_GRAY, PNG_RGB = 0, 2
PNG_TURNED = (b"eXIf", b"Raw profile type exif", b"Orientation")  # where a PNG says how the camera was held


def is_png(data: bytes, color: int, depth: int = 8) -> bool:
    """True for a PNG of this depth and colour that is not too large; one of 8 bits is the same to all decoders."""
    if len(data) < PNG_HEADER.size:
        return False
    signature, name, width, height, bits, kind = PNG_HEADER.unpack_from(data)
    known = signature == b"\x89PNG\r\n\x1a\n" and name == b"IHDR" and (bits, kind) == (depth, color)
    return known and 0 < width * height <= MAX_PIXELS


def may_be_turned(data: bytes) -> bool:
    """False for a PNG that doesn't say how the camera was held, before its pixels."""
    head = data[: data.find(b"IDAT")]
    return any(mark in head for mark in PNG_TURNED)


def decode_png(data: bytes, path: Path, mode: int) -> np.ndarray:
    """By pyspng if it is installed (half of Pillow's time), else by OpenCV (four fifths); a PNG's pixels are the same.

    JPEGs stay with Pillow: OpenCV fills the rest of a truncated one without a word.
    """
    _check_png(data, path)
    try:
        if pyspng is not None:
            return pyspng.load(data)
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), mode | cv2.IMREAD_IGNORE_ORIENTATION)
    except (RuntimeError, ValueError, cv2.error) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: not a readable image ({reason}); replace the file") from error
    if pixels is None:
        raise DataError(f"{path}: not a readable image (the PNG is damaged); replace the file")
    return pixels


def _check_png(data: bytes, path: Path) -> None:
    """Raises `DataError` if the PNG's end is missing or a chunk that matters is damaged: not all decoders look."""
    start, name = 8, b""
    while name != b"IEND":
        length, name = struct.unpack_from(">I4s", data, start) if start + 8 <= len(data) else (len(data), b"")
        end = start + 8 + length
        if end + 4 > len(data):
            raise DataError(
                f"{path}: not a readable image (the PNG is truncated, its end is missing); replace the file"
            )
        critical = name[:1].isupper()
        if critical and zlib.crc32(data[start + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise DataError(f"{path}: not a readable image (the PNG is damaged, a checksum fails); replace the file")
        start = end + 4
