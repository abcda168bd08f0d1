"""The report: one HTML file that needs no network and no other file."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from engine.evaluation.scoring import Evaluation
from engine.report.curves import curves_section
from engine.report.facts import facts_lists, versions
from engine.report.html import Markup, element, join
from engine.report.matrix import confusion_picture
from engine.report.pictures import Sample, image_section
from engine.report.places import boundary_section, size_section
from engine.report.tables import boundary_scores, class_table, confusion_table, headline
from utils.files import write_atomically

HERE = Path(__file__).parent
NO_SIZES = "Scores by object size take long, so training leaves them out; eval.py --report has them."


def write_report(
    path: Path,
    title: str,
    result: Mapping,
    evaluation: Evaluation,
    palette: Sequence[Sequence[int]],
    ignore_label: int,
    sample: Sample,
    facts: Mapping[str, Mapping],
    most_images: int,
    metrics: Path | None = None,
) -> None:
    """Write the report of an evaluation; equal arguments give equal bytes.

    Args:
        path: The HTML file.
        title: Headline.
        result: What `engine.evaluation.score_files.split_metrics` gave, and `protocol`: how the images were scored.
        evaluation: Where its images have the measures `trimap` and `segments`, these are shown.
        palette: RGB colour, 0 to 255, by class.
        ignore_label: Label that isn't scored.
        sample: Gives an image, its truth and its prediction once more.
        facts: Groups of options and hashes; versions are added.
        most_images: How many of the worst and of the best images are shown.
        metrics: The `metrics.jsonl` of the run, whose curves are shown.

    Raises:
        EnvironmentFault: The file can't be written.
    """
    names = list(result["per_class"])
    matrix = evaluation.confusion.numpy()
    measured = evaluation.images[0].measures if evaluation.images else {}
    sections = {
        "Scores": headline(result),
        "Training": curves_section(metrics) if metrics is not None else None,
        "Classes": class_table(result, palette),
        "Confusions": join([confusion_picture(matrix, names), confusion_table(matrix, names)]),
    }
    if "trimap" in measured:
        sections["Boundaries"] = boundary_section(evaluation.total("trimap"), matrix, names)
    if "boundary" in result:
        sections["Boundary scores"] = boundary_scores(result["boundary"])
    if "segments" in measured:
        sections["Sizes"] = size_section(evaluation.total("segments"), names)
    elif "trimap" in measured:  # while training
        sections["Sizes"] = element("p", NO_SIZES, class_="note")
    sections["Images"] = image_section(evaluation.images, names, palette, sample, ignore_label, most_images)
    sections["Options and hashes"] = facts_lists({**facts, "Versions": versions()})
    page = _page(title, {name: body for name, body in sections.items() if body is not None})
    write_atomically(path, lambda file: file.write(page.encode()))


def _page(title: str, sections: Mapping[str, Markup]) -> str:
    style, script = (Markup((HERE / name).read_text(encoding="utf-8")) for name in ("style.css", "script.js"))
    policy = "; ".join([
        "default-src 'none'", "img-src data:", "base-uri 'none'", "form-action 'none'",
        f"style-src '{_digest(style)}'", f"script-src '{_digest(script)}'",
    ])  # fmt: skip
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", style),
    )
    ids = {name: name.split()[0].lower() for name in sections}
    links = [element("a", name, href=f"#{ids[name]}") for name in sections]
    parts = [element("section", element("h2", name), body, id=ids[name]) for name, body in sections.items()]
    top = element("header", element("h1", title), element("nav", *links, aria_label="sections"))
    body = element("body", top, element("main", *parts), element("script", script))
    return "<!DOCTYPE html>\n" + element("html", head, body, lang="en") + "\n"


def _digest(text: str) -> str:
    """What a content security policy calls the hash of an inline style or script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
