"""Elements of HTML and SVG as text; whatever isn't an element already is escaped, so no name can become markup."""

import html
import unicodedata
from collections.abc import Iterable

_VOID = {"br", "img", "meta"}  # elements without an end tag


class Markup(str):
    """Text that is HTML already."""


def element(name: str, /, *children: object, **attributes: object) -> Markup:
    """One element.

    Args:
        name: Its tag.
        children: `Markup` as it is, other values as escaped text; None is left out.
        attributes: Escaped values; None is left out, True stands without a value. A trailing underscore is dropped
            (`class_`), others become hyphens (`stroke_width`).
    """
    written = []
    for key, value in attributes.items():
        if value is not None:
            key = key.rstrip("_").replace("_", "-")
            written.append(f" {key}" if value is True else f' {key}="{html.escape(_text(value))}"')
    start = f"<{name}{''.join(written)}>"
    return Markup(start if name in _VOID else f"{start}{join(children)}</{name}>")


def join(children: Iterable[object]) -> Markup:
    """Children side by side, escaped where they aren't `Markup`; None is left out."""
    parts = (
        child if isinstance(child, Markup) else html.escape(_text(child)) for child in children if child is not None
    )
    return Markup("".join(parts))


def table(head: Iterable[object], rows: Iterable[Iterable[object]], sortable: bool = False) -> Markup:
    """A table in a box that scrolls sideways; the first cell of a row is its header.

    Args:
        head: Titles of the columns.
        rows: Cells: `td` elements, or values that become one.
        sortable: The script lets readers sort it.
    """
    titles = [element("th", title, scope="col") for title in head]
    body = []
    for row in rows:
        first, *rest = row
        cells = [
            value if isinstance(value, Markup) and value.startswith("<td") else element("td", value) for value in rest
        ]
        body.append(element("tr", element("th", first, scope="row"), *cells))
    inside = element("thead", element("tr", *titles)), element("tbody", *body)
    return element("div", element("table", *inside, class_="sortable" if sortable else None), class_="scroll")


def number(text: object, value: float | None) -> Markup:
    """A table cell with a figure; `value` is what it is sorted by, None (not there) comes last."""
    return element("td", text, class_="number", data_value="" if value is None else repr(float(value)))


def percent(value: float | None, digits: int = 2) -> str:
    """A share as percent without its sign; `n/a` where there is nothing to measure."""
    return "n/a" if value is None else f"{100 * value:.{digits}f}"


def count(value: int) -> str:
    """A whole number with thin spaces between thousands."""
    return f"{value:,}".replace(",", "\u2009")


def _text(value: object) -> str:
    """Text without what can't be shown: lone surrogates (undecodable file names), control and direction characters."""
    text = str(value).encode("utf-8", "replace").decode("utf-8")
    return "".join(c if c.isprintable() or c in "\n\t" or unicodedata.category(c) == "Zs" else "\ufffd" for c in text)
