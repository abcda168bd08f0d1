"""Line and bar charts, which templates draw as SVG; colours are those of the style sheet."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.report.formats import percent
from engine.report.rendering import read_asset, render


@dataclass(frozen=True)
class Chart:
    """Series over a common x, as lines or as groups of bars.

    Attributes:
        title: What the chart shows, for readers of the text too.
        x_title: Name of the horizontal axis.
        x: Positions, ascending; of bars 0, 1, 2, ...
        series: Name -> value at each position; a None is a gap.
        x_labels: A label for each position; None: round numbers.
        fractions: Values lie in [0, 1] and are shown as percent; otherwise the axis spans 0 and the values.
        y_range: Values at the axis' ends; None: as `fractions` says.
        bars: Bars instead of lines.
        mark: A position that gets a vertical line, and its name.
        area: Low and high at each position: the spread of the first series, drawn behind the lines.
    """

    title: str
    x_title: str
    x: Sequence[float]
    series: Mapping[str, Sequence[float | None]]
    x_labels: Sequence[str] | None = None
    fractions: bool = True
    bars: bool = False
    mark: tuple[float, str] | None = None
    area: tuple[Sequence[float], Sequence[float]] | None = None
    y_range: tuple[float, float] | None = None

    width, height = 500, 260  # of the drawing, y downwards
    left, right, top, bottom = 40, 488, 14, 216  # of the area within the axes

    def points(self, name: str) -> list[tuple[float, float, str, str]]:
        """Where the values of a series are drawn, what is said of each, and the value in short."""
        labels, text = self._labels(), percent if self.fractions else "{:g}".format
        return [
            (self.across(x), self.down(y), f"{name}, {labels.get(x, f'{x:g}')}: {text(y)}", self._short(y))
            for x, y in zip(self.x, self.series[name], strict=True)
            if y is not None
        ]

    def outline(self) -> list[tuple[float, float]]:
        """Corners of the area."""
        low, high = (list(zip(self.x, values, strict=True)) for values in self.area)
        return [(self.across(x), self.down(y)) for x, y in [*low, *reversed(high)]]

    def x_ticks(self) -> list[tuple[float, str]]:
        """Position and label."""
        return [(self.across(x), label) for x, label in self._labels().items()]

    def y_ticks(self) -> list[tuple[float, str]]:
        """Position and label."""
        return [(self.down(y), self._short(y)) for y in ticks(*self._y_range())]

    def across(self, x: float) -> float:
        """Position of a value of x."""
        low, high = self._x_range()
        return round(self.left + (x - low) / (high - low) * (self.right - self.left), 1)

    def down(self, y: float) -> float:
        """Position of a value of y."""
        low, high = self._y_range()
        return round(self.bottom - (y - low) / (high - low) * (self.bottom - self.top), 1)

    def _short(self, y: float) -> str:
        return percent(y, 0) if self.fractions else f"{y:g}"

    def _labels(self) -> dict[float, str]:
        if self.x_labels is not None:
            return dict(zip(self.x, self.x_labels, strict=True))
        return {x: f"{x:g}" for x in ticks(*self._x_range()) if x == int(x)}

    def _x_range(self) -> tuple[float, float]:
        if self.bars:
            return -0.5, len(self.x) - 0.5
        return self.x[0], self.x[-1] if self.x[-1] > self.x[0] else self.x[0] + 1

    def _y_range(self) -> tuple[float, float]:
        if self.y_range is not None:
            return self.y_range
        if self.fractions:
            return 0.0, 1.0
        rows = [*self.series.values(), *(self.area or ())]
        values = [y for row in rows for y in row if y is not None] or [1.0]
        low, high = min(*values, 0.0), max(*values, 0.0)
        return low, high if high - low > 1e-30 else low + 1


def draw_file(charts: Sequence[Chart]) -> str:
    """Charts side by side as the text of an SVG file, which needs no other."""
    return render("charts.svg", charts=charts, style=read_asset("style.css"))


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """At most `most` + 1 round numbers (1, 2 or 5 times a power of ten apart) within [low, high]."""
    span = high - low
    size = 10.0 ** math.floor(math.log10(span / most))
    step = next(factor * size for factor in (1, 2, 5, 10) if span / (factor * size) <= most)
    return [round(i * step, 12) for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
