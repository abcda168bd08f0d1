"""The report: one HTML file that needs no network and no other file."""

import base64
import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import PIL
import torch
from markupsafe import Markup

from engine.evaluation.scoring import Evaluation
from engine.report.confidence import confidence_section
from engine.report.curves import curves_section
from engine.report.pictures import Palette, Sampler, worst_and_best
from engine.report.places import boundary_section, size_section
from engine.report.rendering import read_asset, render
from engine.report.tables import boundary_scores, cityscapes_table, class_table, confusion_table
from utils.drawing import WRONG
from utils.files import write_atomically


@dataclass(frozen=True)
class Report:
    """What a report shows.

    Attributes:
        title: Headline.
        evaluation: Where its images have the measures `trimap` and `segments`, these are shown.
        result: What `engine.evaluation.score_files.split_metrics` gave, and `protocol`: how the images were scored.
        palette: RGB colour, 0 to 255, by class.
        sampler: Gives an image, its truth and its prediction once more.
        facts: Groups of options and hashes, title -> name -> value; versions are added.
        most_images: How many of the worst and of the best images are shown.
        metrics: The `metrics.jsonl` of the run, whose curves are shown.
    """

    title: str
    evaluation: Evaluation
    result: Mapping
    palette: Palette
    sampler: Sampler
    facts: Mapping[str, Mapping]
    most_images: int
    metrics: Path | None = None


def write_report(path: Path, report: Report) -> None:
    """Write the HTML file; equal reports give equal bytes. Raises `EnvironmentFault` if it can't be written."""
    write_page(path, report.title, _sections(report))


def write_page(path: Path, title: str, sections: Mapping[str, Markup], more_style: str = "") -> None:
    """Write a page in the house's style.

    Args:
        path: The HTML file.
        title: Headline.
        sections: By title, in their order; their first words differ.
        more_style: CSS besides `style.css`.

    Raises:
        EnvironmentFault: The file can't be written.
    """
    style, script = Markup(read_asset("style.css") + Markup(more_style)), read_asset("script.js")
    policy = f"default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; style-src '{_digest(style)}'"
    page = render(
        "page.html",
        title=title,
        sections=sections,
        style=style,
        script=script,
        policy=f"{policy}; script-src '{_digest(script)}'",
    )
    write_atomically(path, lambda file: file.write(page.encode()))


def versions() -> dict[str, str]:
    """Versions of what a score can depend on."""
    modules = {"torch": torch, "numpy": np, "opencv": cv2, "Pillow": PIL}
    return {"python": platform.python_version()} | {name: module.__version__ for name, module in modules.items()}


def _sections(report: Report) -> dict[str, Markup]:
    """The page's sections by title, in their order."""
    evaluation, result, names = report.evaluation, report.result, list(report.result["per_class"])
    matrix, colors = evaluation.confusion.numpy(), dict(zip(names, report.palette, strict=True))
    measured = evaluation.images[0].measures
    sections = {"Scores": render("scores.html", result=result)}
    if report.metrics is not None:
        sections["Training"] = curves_section(report.metrics)
    sections["Classes"] = render("classes.html", table=class_table(result, report.palette))
    if "cityscapes" in result:
        sections["Categories"] = render("categories.html", table=cityscapes_table(result["cityscapes"]))
    columns = [*names, *["none of the classes"] * (matrix.shape[1] - len(names))]
    frequent = confusion_table(matrix, columns)
    sections["Confusions"] = render("confusions.html", names=columns, matrix=matrix.tolist(), table=frequent)
    if "trimap" in measured:
        bands = boundary_section(evaluation.total("trimap"), matrix, names)
        sections["Boundaries"] = render("boundaries.html", scores=bands)
    if "boundary" in result:
        sections["Boundary scores"] = render("boundary_scores.html", table=boundary_scores(result["boundary"]))
    if "confidence" in result:
        sections["Confidence"] = render("confidence.html", scores=confidence_section(evaluation, result))
    if "trimap" in measured or "segments" in measured:  # training leaves the segments out
        sizes = size_section(evaluation.total("segments"), names) if "segments" in measured else None
        sections["Sizes"] = render("sizes.html", scores=sizes)
    groups = worst_and_best(evaluation.images, colors, report.sampler, report.most_images)
    legend = [*colors.items(), ("ignored", (0, 0, 0)), ("wrong (errors)", WRONG)]
    sections["Images"] = render("images.html", legend=legend, groups=groups)
    sections["Options and hashes"] = render("facts.html", facts={**report.facts, "Versions": versions()})
    return sections


def _digest(text: str) -> str:
    """What a content security policy calls the hash of an inline style or script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
