"""The charts of a study's page: scores and differences a row each, and the curves of all runs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.report.charts import ticks

COLORS = 8  # of the style sheet, in turn


def color_of(index: int) -> str:
    """The class of a variant's marks."""
    return f"v{index % COLORS}"


@dataclass(frozen=True)
class Row:
    """A line of a row chart.

    Attributes:
        name: What it is of.
        color: Class of its marks.
        dots: Small marks.
        middle: The large mark.
        span: The bar through it; None: none.
        text: What the marks are, in words and numbers.
    """

    name: str
    color: str
    dots: Sequence[float]
    middle: float
    span: Sequence[float] | None
    text: str


@dataclass(frozen=True)
class RowChart:
    """Rows over one axis of percentage points; names stand above the marks, so that a phone shows them."""

    title: str
    rows: Sequence[Row]
    zero: bool = False  # the axis has 0, with a line through it

    width, left, right, top, step = 500, 14, 486, 8, 42

    @property
    def bottom(self) -> int:
        """Position of the axis."""
        return self.top + self.step * len(self.rows)

    @property
    def height(self) -> int:
        """Of the drawing."""
        return self.bottom + 24

    def across(self, value: float) -> float:
        """Position of a fraction."""
        low, high = self._range()
        return round(self.left + (100 * value - low) / (high - low) * (self.right - self.left), 1)

    def ticks(self) -> list[tuple[float, str]]:
        """Position and label."""
        form = "{:+g}" if self.zero else "{:g}"
        labels = ((value, form.format(value).replace("-", "\N{MINUS SIGN}")) for value in ticks(*self._range()))
        return [(self.across(value / 100), label if value else "0") for value, label in labels]

    def _range(self) -> tuple[float, float]:
        values = [0.0] if self.zero else []
        for row in self.rows:
            values += [*row.dots, row.middle, *(row.span or ())]
        return padded([100 * value for value in values])


@dataclass(frozen=True)
class CurveChart:
    """The validation scores of all runs over the steps.

    `lines`: for each run its class, what it is, and its points (step, fraction), ascending.
    """

    title: str
    lines: Sequence[tuple[str, str, Sequence[tuple[int, float]]]]

    width, height = 700, 330
    left, right, top, bottom = 40, 690, 12, 286

    def across(self, step: float) -> float:
        """Position of a step."""
        most = max(x for _, _, points in self.lines for x, _ in points)
        return round(self.left + step / most * (self.right - self.left), 1)

    def down(self, value: float) -> float:
        """Position of a fraction."""
        low, high = self._range()
        return round(self.bottom - (100 * value - low) / (high - low) * (self.bottom - self.top), 1)

    def x_ticks(self) -> list[tuple[float, str]]:
        """Position and label."""
        most = max(x for _, _, points in self.lines for x, _ in points)
        return [(self.across(x), f"{x:g}") for x in ticks(0, most)]

    def y_ticks(self) -> list[tuple[float, str]]:
        """Position and label."""
        return [(self.down(y / 100), f"{y:g}") for y in ticks(*self._range())]

    def _range(self) -> tuple[float, float]:
        return padded([100 * y for _, _, points in self.lines for _, y in points])


def padded(values: Sequence[float]) -> tuple[float, float]:
    """A range a little wider than the values, at least 0.2 wide."""
    low, high = min(values), max(values)
    pad = max(0.06 * (high - low), 0.1)
    return math.floor((low - pad) * 100) / 100, math.ceil((high + pad) * 100) / 100


def curve_chart(variants: Mapping[str, Sequence]) -> CurveChart | None:
    """Of the records of each variant; None where no run was validated."""
    lines = []
    for index, (name, records) in enumerate(variants.items()):
        for record in records:
            points = [(row["step"], row["mean_iou"]) for row in record.curve if "mean_iou" in row]
            if points:
                lines.append((color_of(index), f"{name}, seed {record.seed}", points))
    return CurveChart("Mean IoU in validation while training, %", lines) if lines else None
