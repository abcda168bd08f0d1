"""Image and label files -> arrays; every fault becomes a `DataError` that names the file."""

import io
import stat
import struct
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from utils.errors import DataError

try:
    import pyspng  # optional: only faster
except ImportError:
    pyspng = None

MAX_PIXELS = 2**27  # refuses decompression bombs before anything is decoded
MAX_BYTES = 2**30
# Pillow's others include some that start programs (Ghostscript)
FORMATS = ("PNG", "JPEG", "BMP", "DIB", "PPM", "TIFF", "WEBP", "GIF")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp")

PNG_HEADER = struct.Struct(">8s4x4sIIBB")  # signature, name of the first chunk, width, height, bits, kind of colour
PNG_GRAY, PNG_RGB = 0, 2


def read_image(path: Path, upright: bool = True) -> np.ndarray:
    """Image file of any mode -> RGB (H,W,3) uint8; 16-bit values are scaled to 8 bits, transparency is dropped.

    Args:
        path: The file.
        upright: Apply the camera's rotation (EXIF). Not for training and evaluation: labels follow the stored pixels.

    Raises:
        DataError: The file is missing, truncated, not an image, or larger than `MAX_PIXELS`.
    """
    data = _read(path)
    if _is_png(data, PNG_RGB) and not (upright and b"eXIf" in data):
        return _decode_png(data, path, cv2.IMREAD_COLOR_RGB)
    picture = _open(data, path, upright)
    if picture.mode in ("I;16", "I;16L", "I;16B", "I"):
        values = np.asarray(picture).astype(np.int64)
        gray = np.clip(values // 257 if values.max(initial=0) > 255 else values, 0, 255).astype(np.uint8)
        return np.repeat(gray[..., None], 3, axis=2)
    return np.array(picture.convert("RGB"))


def read_label(path: Path) -> np.ndarray:
    """Label file (8-bit grey or palette indices) -> ids (H,W) uint8.

    Raises:
        DataError: The file is missing, unreadable, or not 8-bit single-channel.
    """
    data = _read(path)
    if _is_png(data, PNG_GRAY):
        return _decode_png(data, path, cv2.IMREAD_GRAYSCALE)
    picture = _open(data, path)
    if picture.mode not in ("L", "P"):
        raise DataError(
            f"{path}: label maps are 8-bit with one channel, this one has mode {picture.mode}; save ids, not colours"
        )
    return np.array(picture)


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) of the stored pixels, from the file's header alone.

    Raises:
        DataError: The file is missing, not an image, or larger than `MAX_PIXELS`.
    """
    try:
        _check_file(path)
        with open(path, "rb") as file, _header(file, path) as picture:
            return picture.height, picture.width
    except OSError as error:
        raise _unreadable(path, error) from error


def _read(path: Path) -> bytes:
    try:
        _check_file(path)
        return Path(path).read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def _check_file(path: Path) -> None:
    """Raises `DataError` unless this is a file of sensible size, `OSError` where it can't be looked at."""
    status = Path(path).stat()
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{path}: not a file; replace it by an image")
    if status.st_size == 0:
        raise DataError(f"{path}: the file is empty; replace it")
    if status.st_size > MAX_BYTES:
        raise DataError(f"{path}: {status.st_size} bytes are more than {MAX_BYTES}; scale the image down")


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path}: cannot be read ({error.strerror or error}); check the path and its permissions")


def _is_png(data: bytes, color: int) -> bool:
    """True for a PNG of 8 bits and this kind of colour that is not too large: what all decoders decode alike."""
    if len(data) < PNG_HEADER.size:
        return False
    signature, name, width, height, bits, kind = PNG_HEADER.unpack_from(data)
    known = signature == b"\x89PNG\r\n\x1a\n" and name == b"IHDR" and (bits, kind) == (8, color)
    return known and 0 < width * height <= MAX_PIXELS


def _decode_png(data: bytes, path: Path, mode: int) -> np.ndarray:
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


def _open(data: bytes, path: Path, upright: bool = False) -> Image.Image:
    try:
        picture = _header(io.BytesIO(data), path)
        picture.load()
        return ImageOps.exif_transpose(picture) if upright else picture
    except DataError:
        raise
    except Exception as error:  # Pillow raises many kinds for damaged files
        raise DataError(f"{path}: not a readable image ({error or type(error).__name__}); replace the file") from error


def _header(file: io.BufferedIOBase, path: Path) -> Image.Image:
    """A picture that isn't decoded yet."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit is ours
            picture = Image.open(file, formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: more than {MAX_PIXELS} pixels ({error}); scale it down") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: not an image, or of an unknown format; replace the file") from error
    if picture.width * picture.height > MAX_PIXELS:
        raise DataError(f"{path}: {picture.width}x{picture.height} is more than {MAX_PIXELS} pixels; scale it down")
    return picture
