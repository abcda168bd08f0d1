"""The page of a study: its sections in their order."""

from collections.abc import Mapping
from pathlib import Path

from engine.report.page import write_page
from scripts.studies.page.charts import color_of
from scripts.studies.page.sections import (
    TEMPLATES,
    class_section,
    cost_section,
    curve_section,
    option_section,
    power_section,
    score_section,
    table_section,
)
from scripts.studies.results import Variants


def write_study(path: Path, title: str, results: Mapping, variants: Variants) -> None:
    """Write the page.

    Args:
        path: The HTML file.
        title: Headline.
        results: By `build_results`.
        variants: The runs of each.

    Raises:
        EnvironmentFault: It can't be written.
    """
    colors = {name: color_of(index) for index, name in enumerate(variants)}
    sections = {
        "Scores": score_section(results, colors),
        "Power": power_section(results),
        "Curves": curve_section(variants, colors),
        "Classes": class_section(results),
        "Time and memory": cost_section(results),
        "Tables": table_section(results),
        "Options and runs": option_section(results),
    }
    write_page(path, title, sections, (TEMPLATES / "study.css").read_text(encoding="utf-8"))
