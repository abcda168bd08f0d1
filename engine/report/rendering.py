"""Jinja2 templates -> HTML and SVG; whatever isn't markup is escaped, so no name can become markup."""

from collections.abc import Callable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from engine.report.formats import FILTERS, printable

TEMPLATES = Path(__file__).with_name("templates")


def renderer(*folders: Path) -> Callable[..., Markup]:
    """`render` for templates of other folders too, which may use the macros here."""
    environment = Environment(
        loader=FileSystemLoader([*folders, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS

    def render(template: str, **data: object) -> Markup:
        """What a file of the folders gives for plain data."""
        return Markup(environment.get_template(template).render(data))

    return render


render = renderer()


def read_asset(name: str) -> Markup:
    """The style sheet or the script, as it is."""
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))
