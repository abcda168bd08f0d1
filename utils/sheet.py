"""A sheet of pictures with captions, a title and a legend of colours; RGB (H,W,3) uint8."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from utils.fonts import load_font
from utils.logging import one_line

GAP, LINE, FONT_SIZE, SWATCH = 8, 20, 14, 14
INK, PAPER = (30, 30, 30), (255, 255, 255)


@dataclass(frozen=True)
class Panel:
    """A picture (H,W,3) uint8 RGB and the line below it."""

    picture: np.ndarray
    caption: str


def draw_sheet(
    title: str, panels: Sequence[Panel], columns: int, legend: Sequence[tuple[str, tuple[int, int, int]]]
) -> np.ndarray:
    """Panels of one size row by row, the title above and the legend (text, RGB colour) below."""
    title, legend = one_line(title), [(one_line(text), color) for text, color in legend]
    panels = [Panel(panel.picture, one_line(panel.caption)) for panel in panels]
    font = load_font(FONT_SIZE, [title, *(panel.caption for panel in panels), *(text for text, _ in legend)])
    height, width = panels[0].picture.shape[:2]
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    total = columns * (width + GAP) + GAP
    lines = _legend_lines(legend, font, total)
    top = LINE + 2 * GAP
    below = top + rows * (height + LINE + GAP)
    sheet = Image.new("RGB", (total, below + len(lines) * LINE + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, GAP), _fit(title, font, total - 2 * GAP), INK, font)
    for i, panel in enumerate(panels):
        x, y = GAP + i % columns * (width + GAP), top + i // columns * (height + LINE + GAP)
        sheet.paste(Image.fromarray(panel.picture), (x, y))
        draw.text((x, y + height + 1), _fit(panel.caption, font, width), INK, font)
    for row, line in enumerate(lines):
        for x, text, color in line:
            y = below + row * LINE
            draw.rectangle((x, y, x + SWATCH, y + SWATCH), color, INK)
            draw.text((x + SWATCH + 5, y - 1), text, INK, font)
    return np.asarray(sheet)


def _legend_lines(legend: Sequence[tuple[str, tuple]], font: ImageFont.FreeTypeFont, width: int) -> list[list[tuple]]:
    """Lines of (x, text, colour) that fit into `width`, in equal columns."""
    if not legend:
        return []
    column = int(max(font.getlength(text) for text, _ in legend)) + SWATCH + 5 + 2 * GAP
    number = max(1, (width - GAP) // column)
    places = [(GAP + i % number * column, text, color) for i, (text, color) in enumerate(legend)]
    return [places[i : i + number] for i in range(0, len(places), number)]


def _fit(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """`text`, shortened in the middle until it fits."""
    if font.getlength(text) <= width:
        return text
    for kept in range(len(text) // 2, 0, -1):
        shorter = f"{text[:kept]}...{text[-kept:]}"
        if font.getlength(shorter) <= width:
            return shorter
    return ""
