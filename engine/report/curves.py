"""Loss and scores over the epochs of a run, drawn into a report that may be there already."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from engine.report.charts import Chart, draw_file, line_chart
from engine.report.html import Markup, element
from utils.files import write_atomically

MAX_EPOCH = 10**9
DRAWN = {"train_loss": (-1e30, 1e30), "val_loss": (-1e30, 1e30), "mean_iou": (0, 1), "pixel_accuracy": (0, 1)}  # limits
START, END = Markup("<!-- curves -->"), Markup("<!-- end of curves -->")  # escaped text can't hold them


def curves_section(metrics: Path) -> Markup:
    """Curves of `metrics.jsonl` between marks, by which `update_curves` finds them; none where there are no epochs."""
    charts = [chart.figure() for chart in _charts(_records(metrics))]
    none = element("p", "No epoch is finished yet.", class_="note")
    return Markup(START + (element("div", *charts, class_="pair") if charts else none) + END)


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
        page = text[:start] + curves_section(metrics) + text[end + len(END) :]
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
    drawn = {key: row[key] for key, limits in DRAWN.items() if _is_within(row.get(key), *limits)}
    return {"epoch": epoch, **drawn} if drawn else None


def _is_within(value: object, low: float, high: float) -> bool:
    """A number, and in the range; nan is not."""
    return type(value) in (int, float) and low <= value <= high


def _charts(rows: Sequence[Mapping]) -> list[Chart]:
    if not rows:
        return []
    epochs, mark = [row["epoch"] for row in rows], None
    scored = [row for row in rows if row.get("mean_iou") is not None]
    if scored:
        best = max(scored, key=lambda row: row["mean_iou"])["epoch"]
        mark = (best, f"best: epoch {best}")

    def series(**names: str) -> dict[str, list]:
        return {title: [row.get(key) for row in rows] for key, title in names.items()}

    scores = series(mean_iou="mean IoU", pixel_accuracy="pixel accuracy")
    losses = series(train_loss="training, all terms", val_loss="validation, cross-entropy")
    charts = [line_chart("Loss", "epoch", epochs, losses, y_format=lambda value: f"{value:g}", mark=mark)]
    if scored:
        charts.append(line_chart("Validation scores, %", "epoch", epochs, scores, y_limits=(0.0, 1.0), mark=mark))
    return charts
