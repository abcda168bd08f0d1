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
_said: set[str] = set()  # letters that the log has named


def load_font(size: float, texts: Iterable[str]) -> ImageFont.FreeTypeFont:
    """Pillow's own font for ASCII, else the first installed one that has all letters of `texts`.

    Where none has, the one that has most; boxes stand in the place of others, and the log says so once.

    Args:
        size: Height in pixels.
        texts: What is to be written.
    """
    letters = frozenset("".join(texts))
    name = None if all(letter.isascii() for letter in letters) else _installed(letters)
    return ImageFont.truetype(name, size) if name else ImageFont.load_default(size)


@cache
def _installed(letters: frozenset[str]) -> str | None:
    best, missing = None, {letter for letter in letters if not letter.isascii()}
    for name in INSTALLED:
        try:
            font = ImageFont.truetype(name, 16)
        except OSError:
            continue
        box = _shape(font, NO_CHARACTER)
        boxes = {letter for letter in letters if not letter.isspace() and _shape(font, letter) == box}
        if best is None or len(boxes) < len(missing):
            best, missing = name, boxes
    if new := sorted(missing - _said):
        _said.update(new)
        get_logger().warning(f"no installed font has {''.join(new)!r}: pictures show boxes in their place")
    return best


def _shape(font: ImageFont.FreeTypeFont, letter: str) -> bytes:
    return bytes(font.getmask(letter))
