"""Loss and scores over the epochs of a run, drawn into a report that may be there already."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

from engine.report.charts import Chart, draw_file
from engine.report.rendering import render
from utils.files import write_atomically

MAX_EPOCH = 10**9
DRAWN = {"train_loss": (-1e30, 1e30), "val_loss": (-1e30, 1e30), "mean_iou": (0, 1), "pixel_accuracy": (0, 1)}  # limits
START, END = "<!-- curves -->", "<!-- end of curves -->"  # of curves.html; escaped text can't hold them


def curves_section(metrics: Path) -> Markup:
    """Curves of `metrics.jsonl` between marks, by which `update_curves` finds them; none where there are no epochs."""
    return render("curves.html", charts=_charts(_records(metrics)))


def draw_curves(metrics: Path) -> str:
    """Curves of `metrics.jsonl`, a finished epoch at least, as the text of an SVG file."""
    return draw_file(_charts(_records(metrics)))


def update_curves(report: Path, metrics: Path) -> None:
    """Draw the curves of `metrics.jsonl` anew in a report that has them; another report, or none, is left alone.

    Raises:
        EnvironmentFault: The file can't be written.
    """
    if not report.is_file():
        return
    text = report.read_text(encoding="utf-8")
    start, end = text.find(START), text.find(END)
    if 0 <= start < end:
        page = text[:start] + str(curves_section(metrics)) + text[end + len(END) :]
        write_atomically(report, lambda file: file.write(page.encode()))


def _records(metrics: Path) -> list[dict]:
    """The epochs of a run in their order; what is no epoch, such as a line that a kill cut off, is left out."""
    try:
        lines = metrics.read_bytes().splitlines() if metrics.is_file() else []
    except OSError:  # not ours to read: a page without curves is better than none
        lines = []
    rows = {}
    for line in lines:
        if (row := _record(line)) is not None:
            rows[row["epoch"]] = row  # the last one of an epoch, as it was trained again
    return [rows[epoch] for epoch in sorted(rows)]


def _record(line: bytes) -> dict | None:
    """`epoch` and what is drawn of a line of `metrics.jsonl`, or None if it is none."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    epoch = row.get("epoch") if isinstance(row, dict) else None
    if type(epoch) is not int or not 0 <= epoch <= MAX_EPOCH:
        return None
    numbers = {key: row[key] for key in DRAWN if type(row.get(key)) in (int, float)}
    drawn = {key: value for key, value in numbers.items() if DRAWN[key][0] <= value <= DRAWN[key][1]}  # nan is not
    return {"epoch": epoch, **drawn} if drawn else None


def _charts(rows: Sequence[Mapping]) -> list[Chart]:
    if not rows:
        return []
    epochs, mark = [row["epoch"] for row in rows], None
    columns = {key: [row.get(key) for row in rows] for key in DRAWN}
    if scored := [row for row in rows if "mean_iou" in row]:
        best = max(scored, key=lambda row: row["mean_iou"])["epoch"]
        mark = (best, f"best: epoch {best}")
    losses = {"training, all terms": columns["train_loss"], "validation, cross-entropy": columns["val_loss"]}
    charts = [Chart("Loss", "epoch", epochs, losses, fractions=False, mark=mark)]
    if scored:
        scores = {"mean IoU": columns["mean_iou"], "pixel accuracy": columns["pixel_accuracy"]}
        charts.append(Chart("Validation scores, %", "epoch", epochs, scores, mark=mark))
    return charts
