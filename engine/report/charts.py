"""Line and bar charts as SVG; colours come from the page's style sheet, so they follow its dark mode."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.report.html import Markup, element, percent

WIDTH, HEIGHT = 500, 260
LEFT, RIGHT, TOP, BOTTOM = 40, 12, 14, 44

HEAD = 52  # height of title and keys in a drawing of its own
STYLE = Path(__file__).with_name("style.css")

Series = Mapping[str, Sequence[float | None]]


@dataclass(frozen=True)
class Chart:
    """A drawing of WIDTH x HEIGHT without its title, and the names of its series."""

    title: str
    parts: Sequence[Markup]
    names: Sequence[str]

    def figure(self) -> Markup:
        """The chart with title and keys, for a page."""
        drawing = element(
            "svg",
            element("title", self.title),
            *self.parts,
            viewBox=f"0 0 {WIDTH} {HEIGHT}",
            role="img",
            class_="chart",
        )
        keys = [element("li", element("i", class_=f"key s{i}"), name) for i, name in enumerate(self.names)]
        return element("figure", element("figcaption", self.title), drawing, element("ul", *keys, class_="keys"))

    def drawing(self, x: int) -> Markup:
        """The chart with title and keys, for an SVG, `x` from its left."""
        parts, at = [element("text", self.title, x=LEFT, y=18)], LEFT
        for i, name in enumerate(self.names):
            parts.append(element("line", x1=at, x2=at + 20, y1=36, y2=36, class_=f"line s{i}"))
            parts.append(element("text", name, x=at + 26, y=40))
            at += 50 + 7 * len(name)
        return element(
            "g", *parts, element("g", *self.parts, transform=f"translate(0 {HEAD})"), transform=f"translate({x} 0)"
        )


def draw_file(charts: Sequence[Chart]) -> str:
    """Charts side by side as the text of an SVG file, which needs no other."""
    size = {"width": WIDTH * len(charts), "height": HEAD + HEIGHT}
    parts = [element("style", Markup(STYLE.read_text())), element("rect", **size, style="fill: var(--paper)")]
    parts += [chart.drawing(WIDTH * i) for i, chart in enumerate(charts)]
    return element(
        "svg", *parts, xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {size['width']} {size['height']}", **size
    )


def line_chart(
    title: str,
    x_title: str,
    x: Sequence[float],
    series: Series,
    *,
    x_labels: Mapping[float, str] | None = None,
    y_format: Callable[[float], str] = percent,
    y_limits: tuple[float, float] | None = None,
    mark: tuple[float, str] | None = None,
) -> Chart:
    """Lines over a common x; a None in a series is a gap.

    Args:
        title: What the chart shows, for readers of the text too.
        x_title: Name of the horizontal axis.
        x: Positions, ascending.
        series: Name -> value at each position.
        x_labels: Position -> label; None: round numbers.
        y_format: Value -> label.
        y_limits: Least and greatest value of the axis; None: round numbers around the values.
        mark: A position that gets a vertical line, and its name.
    """
    low, high = y_limits or _limits(series)
    first, last = x[0], x[-1] if x[-1] > x[0] else x[0] + 1
    if x_labels is None:
        x_labels = {tick: f"{tick:g}" for tick in ticks(first, last) if tick == int(tick)}

    def across(value: float) -> float:
        return round(LEFT + (value - first) / (last - first) * (WIDTH - LEFT - RIGHT), 1)

    parts = _frame(low, high, y_format, {across(value): label for value, label in x_labels.items()}, x_title)
    if mark is not None:
        at = across(mark[0])
        parts.append(element("line", x1=at, x2=at, y1=TOP, y2=HEIGHT - BOTTOM, class_="mark"))
        parts.append(element("text", mark[1], x=at + (4 if at < WIDTH * 0.75 else -4), y=TOP + 10, class_="mark-name",
                             text_anchor="start" if at < WIDTH * 0.75 else "end"))  # fmt: skip
    for i, (name, values) in enumerate(series.items()):
        points = [(across(at), _down(y, low, high), at, y) for at, y in zip(x, values, strict=True) if y is not None]
        line = " ".join(f"{px},{py}" for px, py, _, _ in points)
        parts.append(element("polyline", points=line, class_=f"line s{i}"))
        if len(points) <= 40:
            for px, py, at, y in points:
                hint = element("title", f"{name}, {x_labels.get(at, f'{at:g}')}: {y_format(y)}")
                parts.append(element("circle", hint, cx=px, cy=py, r=3.5, class_=f"dot s{i}"))
    return Chart(title, parts, list(series))


def bar_chart(title: str, x_title: str, labels: Sequence[str], series: Series) -> Chart:
    """Groups of bars of shares from 0 to 1, one group per label; a None is no bar."""
    group = (WIDTH - LEFT - RIGHT) / len(labels)
    centres = {round(LEFT + (i + 0.5) * group, 1): label for i, label in enumerate(labels)}
    parts = _frame(0.0, 1.0, percent, centres, x_title)
    width = 0.7 * group / len(series)
    for i, (name, values) in enumerate(series.items()):
        for centre, label, value in zip(centres, labels, values, strict=True):
            if value is None:
                continue
            top, left = _down(value, 0.0, 1.0), centre - 0.35 * group + i * width
            hint = element("title", f"{name}, {label}: {percent(value)}")
            height = round(HEIGHT - BOTTOM - top, 1)
            parts.append(element("rect", hint, x=round(left, 1), y=top, width=round(width - 2, 1), height=height,
                                 class_=f"bar s{i}"))  # fmt: skip
            parts.append(element("text", percent(value, 0), x=round(left + width / 2 - 1, 1), y=round(top - 4, 1),
                                 class_="bar-value"))  # fmt: skip
    return Chart(title, parts, list(series))


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """At most `most` + 1 round numbers (1, 2 or 5 times a power of ten apart) within [low, high]."""
    span = high - low
    size = 10.0 ** math.floor(math.log10(span / most))
    step = next(factor * size for factor in (1, 2, 5, 10) if span / (factor * size) <= most)
    return [round(i * step, 12) for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _limits(series: Series) -> tuple[float, float]:
    values = [value for row in series.values() for value in row if value is not None] or [0.0, 1.0]
    low, high = min(*values, 0.0), max(*values, 0.0)
    return low, high if high - low > 1e-30 else low + 1


def _down(value: float, low: float, high: float) -> float:
    return round(HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM), 1)


def _frame(low: float, high: float, y_format: Callable, x_labels: Mapping[float, str], x_title: str) -> list[Markup]:
    parts = []
    for tick in ticks(low, high):
        y = _down(tick, low, high)
        parts.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"))
        label = percent(tick, 0) if y_format is percent else y_format(tick)
        parts.append(element("text", label, x=LEFT - 8, y=y + 4, text_anchor="end"))
    for x, label in x_labels.items():
        parts.append(element("text", label, x=x, y=HEIGHT - BOTTOM + 19, text_anchor="middle"))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(element("text", x_title, x=middle, y=HEIGHT - 6, text_anchor="middle", class_="axis"))
    return parts
