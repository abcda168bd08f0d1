"""Image and label files -> arrays; every fault becomes a `DataError` that names the file."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from utils.errors import DataError

MAX_PIXELS = 2**27  # refuses decompression bombs before anything is decoded
# Pillow's others include some that start programs (Ghostscript)
FORMATS = ("PNG", "JPEG", "MPO", "BMP", "DIB", "PPM", "TIFF", "WEBP", "GIF")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp")


def _open(path: Path, upright: bool = False) -> Image.Image:
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error
    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
        if picture.width * picture.height > MAX_PIXELS:
            raise DataError(f"{path}: {picture.width}x{picture.height} is more than {MAX_PIXELS} pixels; scale it down")
        picture.load()
        return ImageOps.exif_transpose(picture) if upright else picture
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: not an image, or of an unknown format; replace the file") from error
    except Exception as error:  # Pillow raises many kinds for damaged files
        raise DataError(f"{path}: not a readable image ({error or type(error).__name__}); replace the file") from error


def read_image(path: Path) -> np.ndarray:
    """Image file of any mode -> RGB (H,W,3) uint8, EXIF rotation applied; 16-bit values are scaled to 8 bits.

    Raises:
        DataError: The file is missing, truncated, not an image, or larger than `MAX_PIXELS`.
    """
    picture = _open(path, upright=True)
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
    picture = _open(path)
    if picture.mode not in ("L", "P"):
        raise DataError(
            f"{path}: label maps are 8-bit with one channel, this one has mode {picture.mode}; save ids, not colours"
        )
    return np.array(picture)
