"""The microscope's page: scores, changes, images and filters."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup

from datasets.base import ClassTable
from engine.report.charts import Chart
from engine.report.page import write_page
from engine.report.rendering import renderer
from scripts.microscopes.counting import OUTCOMES, PLACES, Counts
from scripts.microscopes.looking import Microscope
from scripts.microscopes.pictures import OUTCOME_COLORS, draw_filters, draw_image
from scripts.microscopes.scores import EVERYWHERE
from scripts.microscopes.variants import MEAN, MEANINGS, TRAINED

TEMPLATES = Path(__file__).with_name("templates")
OUTCOME_TITLES = {
    "lost": "right as trained, wrong when switched",
    "gained": "wrong as trained, right when switched",
    "other": "wrong in both, but another label",
}

render = renderer(TEMPLATES)


def choose_images(counts: Mapping[str, Counts], number: int) -> list[int]:
    """Places of up to `number` of the counted images: evenly from most to fewest labels that the switches change."""
    changed = sum(own.changes[:, :, 1:].sum(axis=(1, 2)) for own in counts.values())
    ranked = np.argsort(-changed, kind="stable")
    places = np.linspace(0, len(ranked) - 1, min(number, len(ranked))).round().astype(int)
    return ranked[places].tolist()


def write_microscope_page(path: Path, microscope: Microscope, result: Mapping, images: Sequence[int]) -> None:
    """Write the HTML file.

    Args:
        path: The file.
        microscope: Draws the images and filters.
        result: What `Microscope.describe` gave.
        images: Places among the microscope's images of those that are shown.
    """
    facts = {"Weights and data": _sources(microscope, result), "Options": dataclasses.asdict(microscope.options)}
    sections = {
        **_score_sections(result, microscope.dataset.split.classes),
        "Images": _image_section(microscope, images),
        "Filters": _filter_section(microscope, result),
        "Options and hashes": render("facts.html", facts=facts | {"Versions": result["versions"]}),
    }
    title = f"{result['arch']} under the microscope: {result['dataset']} {result['split']}"
    write_page(path, title, sections, (TEMPLATES / "microscope.css").read_text())


def _score_sections(result: Mapping, classes: ClassTable) -> dict[str, Markup]:
    variants = result["variants"]
    rows = {"places": (EVERYWHERE, *PLACES), "names": classes.names, "palette": classes.palette}
    charts, switched = _score_charts(variants), {name: row for name, row in variants.items() if name != TRAINED}
    shown = {"result": result, "meanings": _meanings(result), "charts": charts}
    return {
        "Switches": render("microscope_switches.html", **shown, **rows),
        "Classes": render("microscope_classes.html", variants=variants, **rows),
        "Changes": render("microscope_changes.html", variants=switched, band=result["band"], titles=OUTCOME_TITLES),
    }


def _image_section(microscope: Microscope, images: Sequence[int]) -> Markup:
    classes = microscope.dataset.split.classes
    legend = [*zip(classes.names, classes.palette, strict=True), ("ignored", (0, 0, 0))]
    legend += [(OUTCOME_TITLES[name], OUTCOME_COLORS[name]) for name in OUTCOMES]
    return render("microscope_images.html", legend=legend, images=[draw_image(microscope, place) for place in images])


def _filter_section(microscope: Microscope, result: Mapping) -> Markup:
    rows = {
        name: {**row, "charts": _response_charts(row), "pictures": draw_filters(microscope.filters[name])}
        for name, row in result["filters"].items()
    }
    return render("microscope_filters.html", filters=rows)


def _sources(microscope: Microscope, result: Mapping) -> dict:
    snapshot = {"snapshot": microscope.options.snapshot, "snapshot sha256": result["snapshot_sha256"]}
    return snapshot | {"split sha256": result["data_sha256"], "images": result["num_images"]}


def _meanings(result: Mapping) -> dict[str, str]:
    titles = {"off": "off", "silent": "silent", MEAN: result["variants"][MEAN]["title"]}
    return {titles[name]: text for name, text in MEANINGS.items()}


def _score_charts(variants: Mapping[str, Mapping]) -> list[Chart]:
    """Bars near boundaries and in the interior: one chart for each kind of switch."""
    charts = []
    for title, end in (("modules off", "off"), ("only their filters silent", "silent")):
        shown = [row for name, row in variants.items() if name == TRAINED or name.endswith(f"_{end}")]
        series = {place: [row["places"][place]["mean_iou"] for row in shown] for place in PLACES}
        labels = [row["title"] for row in shown]
        charts.append(Chart(f"Mean IoU, %, {title}", "", range(len(shown)), series, x_labels=labels, bars=True))
    return charts


def _response_charts(row: Mapping) -> list[Chart]:
    """Gain of the filter and of what the module gets of it, over the frequency."""
    titles = {"filter": "the filter D"}
    if not row["smooth"]:
        titles["answer"] = "what the module gets, x − D(x)"
    return [
        Chart(
            f"Gain of {title}",
            "cycles per 100 pixels of the level",
            [100 * frequency for frequency in row["frequency"]],
            {"learned, mean over channels": row[name]["mean"], "mean filter": row[name]["mean_filter"]},
            fractions=False,
            area=(row[name]["low"], row[name]["high"]),
        )
        for name, title in titles.items()
    ]
