"""The confusion matrix as a picture."""

from collections.abc import Sequence

import numpy as np

from engine.report.html import Markup, count, element, percent

CELL = 26
MOST_WITH_TEXT = 40  # classes; with more there are names and figures in the hints only
ROOM, OVERHANG = 124, 50  # for names: left and on top, and where those on top lean out on the right


def confusion_picture(matrix: np.ndarray, names: Sequence[str]) -> Markup:
    """Heat map of a confusion matrix (C,C), a row being the truth; the deeper a cell, the larger its share of the row.

    Cells without pixels are left out; a class that the truth lacks has an empty row.
    """
    size = len(names)
    named = size <= MOST_WITH_TEXT
    cell, room = (CELL, ROOM) if named else (8, 8)
    side = room + size * cell
    width = side + (OVERHANG if named else 0)
    parts = [element("rect", x=room, y=room, width=size * cell, height=size * cell, class_="paper")]
    for i, name in enumerate(names if named else ()):
        middle = room + (i + 0.5) * cell
        short = name if len(name) <= 18 else name[:17] + "…"
        parts.append(element("text", short, x=room - 8, y=middle + 4, text_anchor="end"))
        turned = f"translate({middle + 4} {room - 8}) rotate(-60)"
        parts.append(element("text", short, transform=turned))
    axes = "rows: true class; columns: predicted class"
    parts.append(element("text", axes, x=room + size * cell / 2, y=side + 15, text_anchor="middle"))
    for true, predicted in np.argwhere(matrix).tolist():
        parts += _cell(matrix, names, true, predicted, room, cell, named)
    title = element("title", "Confusion matrix: rows are the true classes, columns the predicted ones")
    drawing = element("svg", title, *parts, viewBox=f"0 0 {width} {side + 20}", role="img", class_="matrix")
    readout = element("output", "Point at a cell to read its counts.", class_="readout")
    return element("figure", element("div", drawing, class_="scroll"), readout)


def _cell(
    matrix: np.ndarray, names: Sequence[str], true: int, predicted: int, room: int, cell: int, named: bool
) -> list[Markup]:
    pixels = int(matrix[true, predicted])
    share = pixels / int(matrix[true].sum())
    text = f"{names[true]} predicted as {names[predicted]}: {percent(share)} % ({count(pixels)} pixels)"
    x, y = room + predicted * cell, room + true * cell
    kind = "hit" if true == predicted else "miss"
    parts = [
        element("rect", element("title", text), x=x + 0.5, y=y + 0.5, width=cell - 1, height=cell - 1,
                class_=f"cell {kind}", fill_opacity=round(0.06 + 0.94 * share, 3))
    ]  # fmt: skip
    if named and share >= 0.005:
        deep = "figure deep" if share > 0.55 else "figure"
        parts.append(element("text", percent(share, 0), x=x + cell / 2, y=y + cell / 2 + 4, class_=deep))
    return parts
