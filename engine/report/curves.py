"""Loss and scores over the epochs of a run, drawn into a report that may be there already."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from engine.report.charts import Chart, draw_file, line_chart
from engine.report.html import Markup, element
from utils.files import write_atomically

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
    if not report.exists():
        return
    text = report.read_text(encoding="utf-8")
    start, end = text.find(START), text.find(END)
    if 0 <= start < end:
        page = text[:start] + curves_section(metrics) + text[end + len(END) :]
        write_atomically(report, lambda file: file.write(page.encode()))


def _records(metrics: Path) -> list[dict]:
    """The epochs of a run; what is no epoch, such as a line that was cut off by a kill, is left out."""
    rows = []
    for line in metrics.read_text(encoding="utf-8", errors="replace").splitlines() if metrics.exists() else ():
        try:
            row = json.loads(line, parse_constant=lambda _: None)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and isinstance(row.get("epoch"), int):
            rows.append({key: value for key, value in row.items() if isinstance(value, (int, float))})
    return rows


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
