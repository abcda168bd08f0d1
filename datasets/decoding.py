"""Image files: what is safe to open, what a header says, how stored pixels are turned upright."""

import io
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from utils.errors import DataError

MAX_PIXELS = 2**27  # refuses decompression bombs before anything is decoded
MAX_BYTES = 2**30
# Pillow's others include some that start programs (Ghostscript)
FORMATS = ("PNG", "JPEG", "BMP", "DIB", "PPM", "TIFF", "WEBP", "GIF")
TIFF_BITS, ORIENTATION = 258, 0x0112
UPRIGHT = 1
SINGLE_DEEP = ("I;16", "I;16L", "I;16B", "I", "F")  # Pillow's modes of one channel with more than 8 bits


@dataclass(frozen=True)
class Header:
    """What a file says before it is decoded.

    Attributes:
        size: (height, width) of the stored pixels.
        mode: Pillow's mode; with `;16` added for colours of 16 bits, which Pillow would cut to 8.
        orientation: EXIF's, 1 to 8; 1 is upright, and what a damaged EXIF counts as.
        largest: The largest value of deep pixels, where the file or its format says it.
    """

    size: tuple[int, int]
    mode: str
    orientation: int
    largest: int | None = None

    @property
    def is_deep(self) -> bool:
        """True for pixels of more than 8 bits."""
        return self.mode in SINGLE_DEEP or self.mode.endswith(";16")

    @property
    def upright_size(self) -> tuple[int, int]:
        """(height, width) once the picture is turned as EXIF says."""
        return self.size[::-1] if self.orientation >= 5 else self.size


def read_header(path: Path) -> Header:
    """The header of an image or label file; nothing is decoded.

    Raises:
        DataError: The file is missing, not an image, or larger than `MAX_PIXELS`.
    """
    try:
        _check_file(path)
        with open(path, "rb") as file, open_picture(file, path) as picture:
            return header_of(picture)
    except OSError as error:
        raise unreadable(path, error) from error


def header_of(picture: Image.Image) -> Header:
    """The header of a picture that isn't decoded yet."""
    try:
        # not the PNG reader's own method, which decodes the picture to see what comes after it
        orientation = Image.Image.getexif(picture).get(ORIENTATION, UPRIGHT)
    except Exception:  # Pillow raises many kinds for damaged EXIF; the pixels may still be whole
        orientation = UPRIGHT
    if picture.format == "TIFF":
        orientation = picture.tag_v2.get(ORIENTATION, UPRIGHT)
    orientation = orientation if orientation in range(1, 9) else UPRIGHT
    size = (picture.height, picture.width)
    if picture.format == "TIFF" and orientation >= 5:  # the only format whose size Pillow gives as turned
        size = size[::-1]
    bits = _bits(picture)
    deep_color = bits > 8 and picture.mode not in SINGLE_DEEP
    largest = 65535 if picture.format == "PPM" else 2**bits - 1 if 8 < bits < 16 else None
    return Header(size, f"{picture.mode};16" if deep_color else picture.mode, orientation, largest)


def _bits(picture: Image.Image) -> int:
    """Bits of a channel, as far as they are stored as integers."""
    if picture.format == "TIFF":
        return max(picture.tag_v2.get(TIFF_BITS, (1,)))
    if picture.format == "PNG" and picture.tile:
        return 16 if str(picture.tile[0][3]).endswith(";16B") else 8
    return 8


def turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Stored pixels (H,W) or (H,W,3) -> upright ones, (W,H) where the orientation is 5 or more."""
    if orientation >= 5:
        pixels = np.swapaxes(pixels, 0, 1)
    rows, columns = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    return np.ascontiguousarray(pixels[:: -1 if rows else 1, :: -1 if columns else 1])


def turn_back(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """The opposite of `turn`."""
    return turn(pixels, {6: 8, 8: 6}.get(orientation, orientation))


def read_bytes(path: Path) -> bytes:
    """A whole file. Raises `DataError` where it is missing, empty, too large or no file."""
    try:
        _check_file(path)
        return Path(path).read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error


def _check_file(path: Path) -> None:
    """Raises `DataError` unless this is a file of sensible size, `OSError` where it can't be looked at."""
    status = Path(path).stat()
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{path}: not a file; replace it by an image")
    if status.st_size == 0:
        raise DataError(f"{path}: the file is empty; replace it")
    if status.st_size > MAX_BYTES:
        raise DataError(f"{path}: {status.st_size} bytes are more than {MAX_BYTES}; scale the image down")


def unreadable(path: Path | str, error: OSError) -> DataError:
    """The `DataError` for a file that the system doesn't let us read."""
    return DataError(f"{path}: cannot be read ({error.strerror or error}); check the path and its permissions")


def decode_picture(data: bytes, path: Path) -> tuple[Image.Image, Header]:
    """A decoded picture, its pixels as they are stored but for TIFF's, which Pillow turns upright."""
    try:
        picture = open_picture(io.BytesIO(data), path)
        header = header_of(picture)
        picture.load()
        return picture, header
    except DataError:
        raise
    except Exception as error:  # Pillow raises many kinds for damaged files
        raise DataError(f"{path}: not a readable image ({error or type(error).__name__}); replace the file") from error


def open_picture(file: io.BufferedIOBase, path: Path | str) -> Image.Image:
    """A picture that isn't decoded yet. Raises `DataError` where it is no image or too large."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit is ours
            picture = Image.open(file, formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: more than {MAX_PIXELS} pixels ({error}); scale it down") from error
    except UnidentifiedImageError as error:
        file.seek(0)
        if file.read(4) in (b"II*\0", b"MM\0*"):
            raise DataError(
                f"{path}: a damaged TIFF, or one whose kind of pixels isn't read (float with several channels, more"
                " than 4 channels, 32 or 64 bits); save it as 8-bit RGB or as 16-bit"
            ) from error
        raise DataError(f"{path}: not an image, or of an unknown format; replace the file") from error
    except OSError:
        raise
    except Exception as error:  # Pillow raises many kinds for damaged files
        raise DataError(f"{path}: not a readable image ({error or type(error).__name__}); replace the file") from error
    if picture.width * picture.height > MAX_PIXELS:
        raise DataError(f"{path}: {picture.width}x{picture.height} is more than {MAX_PIXELS} pixels; scale it down")
    return picture
