"""Values as text: the filters of the templates."""

import unicodedata
from collections.abc import Sequence
from functools import partial

from markupsafe import Markup


def percent(value: float | None, digits: int = 2) -> str:
    """A fraction as percent without its sign; `n/a` where there is nothing to measure."""
    return "n/a" if value is None else f"{100 * value:.{digits}f}"


def count(value: int) -> str:
    """A whole number with thin spaces between thousands."""
    return f"{value:,}".replace(",", "\u2009")


def interval(ends: Sequence[float] | None, digits: int = 1) -> str:
    """Two fractions as percent."""
    return f"{percent(ends[0], digits)} to {percent(ends[1], digits)}" if ends else "n/a"


def number(value: object, kind: str) -> str:
    """A figure of a table, as its column's kind (a key of `KINDS`) says."""
    return KINDS[kind](value)


def sort_key(value: object) -> str:
    """What the page's script sorts a figure by: an interval by its width; empty (comes last) where there is none."""
    if value is None:
        return ""
    return repr(float(value[1] - value[0] if isinstance(value, Sequence) else value))


def fact(value: object) -> str:
    """An option's value in words."""
    if value is None or value == "":
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(fact, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def printable(value: object) -> str:
    """Text without what can't be shown: lone surrogates (undecodable file names), control and direction characters."""
    if isinstance(value, Markup) or (text := str(value)).isprintable():
        return value
    text = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(c if c.isprintable() or c in "\n\t" or unicodedata.category(c) == "Zs" else "\ufffd" for c in text)


KINDS = {"percent": percent, "percent, bar": percent, "percent1": partial(percent, digits=1)}
KINDS |= {"count": count, "interval": interval, "interval2": partial(interval, digits=2)}
FILTERS = {filter.__name__: filter for filter in (percent, count, interval, number, sort_key, fact)}
