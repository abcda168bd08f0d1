"""Letters for pictures."""

from collections.abc import Iterable
from functools import cache

from PIL import ImageFont

from utils.logging import get_logger

# in the order in which they are tried; found in the system's folders: Linux, macOS, Windows
INSTALLED = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "Arial Unicode.ttf",
    "PingFang.ttc",
    "arial.ttf",
    "msyh.ttc",
    "malgun.ttf",
)
NO_CHARACTER = "\uffff"


def load_font(size: float, texts: Iterable[str]) -> ImageFont.FreeTypeFont:
    """Pillow's own font for ASCII, else the first installed one that has all letters of `texts`.

    Where none has, boxes stand in their place and the log says so, once.

    Args:
        size: Height in pixels.
        texts: What is to be written.
    """
    letters = frozenset("".join(texts))
    name = None if all(letter.isascii() for letter in letters) else _installed(letters)
    return ImageFont.truetype(name, size) if name else ImageFont.load_default(size)


@cache
def _installed(letters: frozenset[str]) -> str | None:
    best, most = None, -1
    for name in INSTALLED:
        try:
            font = ImageFont.truetype(name, 16)
        except OSError:
            continue
        missing = _shape(font, NO_CHARACTER)
        drawn = sum(letter.isspace() or _shape(font, letter) != missing for letter in letters)
        if drawn == len(letters):
            return name
        if drawn > most:
            best, most = name, drawn
    get_logger().warning(f"no installed font has all letters of {''.join(sorted(letters))!r}: pictures show boxes")
    return best


def _shape(font: ImageFont.FreeTypeFont, letter: str) -> bytes:
    return bytes(font.getmask(letter))
