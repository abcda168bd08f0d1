"""Words for pictures: class names beside their colours, a caption in the corner."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from utils.fonts import load_font
from utils.logging import one_line

LEAST_FONT = 12  # pixels; smaller letters can't be read


def draw_legend(
    width: int,
    names: Sequence[str],
    colors: Sequence[tuple[int, int, int]],
    shown: Sequence[bool] | None = None,
) -> np.ndarray:
    """Entries in rows and columns on white, RGB (h,w,3) uint8; w is `width`, or more where an entry needs it.

    Args:
        width: Of the picture that it goes under; letters grow with it.
        names: Class names.
        colors: RGB, 0 to 255, of each.
        shown: False leaves an entry's place empty, so that the places stay the same from frame to frame.
    """
    size, names = max(LEAST_FONT, width // 64), [one_line(name) for name in names]
    font = load_font(size, names)
    margin = size // 2
    cell = max((round(font.getlength(name)) for name in names), default=0) + size + 3 * margin
    columns = max(1, min((width - margin) // cell, len(names)))
    rows = -(-len(names) // columns)
    step = size + margin
    picture = Image.new("RGB", (max(width, margin + columns * cell), rows * step + margin), "white")
    pen = ImageDraw.Draw(picture)
    for i, (name, color) in enumerate(zip(names, colors, strict=True)):
        if shown is None or shown[i]:
            x, y = margin + i % columns * cell, margin + i // columns * step
            pen.rectangle((x, y, x + size - 1, y + size - 1), fill=tuple(color), outline="gray")
            pen.text((x + size + margin, y + size / 2), name, fill="black", font=font, anchor="lm")
    return np.array(picture)


def stack(picture: np.ndarray, below: np.ndarray) -> np.ndarray:
    """One RGB picture over another, (h,w,3) uint8 each; the narrower is filled up with white on the right."""
    width = max(picture.shape[1], below.shape[1])
    parts = [np.pad(p, ((0, 0), (0, width - p.shape[1]), (0, 0)), constant_values=255) for p in (picture, below)]
    return np.concatenate(parts)


def add_caption(picture: np.ndarray, text: str) -> np.ndarray:
    """A copy of RGB (H,W,3) uint8 with `text` in its upper left corner, white on black, cut where it is too wide."""
    text = one_line(text)
    font = load_font(max(LEAST_FONT, picture.shape[0] // 24), [text])
    margin = font.size // 4
    label = Image.new("RGB", (round(font.getlength(text)) + 2 * margin, round(font.size) + 2 * margin))
    ImageDraw.Draw(label).text((margin, label.height / 2), text, fill="white", font=font, anchor="lm")
    patch = np.array(label)[: picture.shape[0], : picture.shape[1]]
    result = picture.copy()
    result[: patch.shape[0], : patch.shape[1]] = patch
    return result
