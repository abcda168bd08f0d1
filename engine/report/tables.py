"""The figures of the page: headline, scores per class, frequent confusions."""

from collections.abc import Mapping, Sequence

import numpy as np

from engine.report.facts import fact
from engine.report.html import Markup, count, element, join, number, percent, table

HEADLINES = {
    "mean_iou": "mean IoU",
    "pixel_accuracy": "pixel accuracy",
    "mean_accuracy": "mean accuracy",
    "frequency_weighted_iou": "frequency-weighted IoU",
}
CONFUSIONS = 10  # rows of the table of frequent confusions


def headline(result: Mapping) -> Markup:
    """Cards with the overall scores, the interval of the mean IoU, and how the images were scored."""
    cards = []
    for key, title in HEADLINES.items():
        unit = None if result[key] is None else element("small", " %")
        figure = element("p", percent(result[key]), unit, class_="figure")
        interval = result["interval"] if key == "mean_iou" else result["intervals"][key]
        between = element("p", f"95 % interval {_between(interval)} (bootstrap over images)") if interval else None
        cards.append(element("li", element("h3", title), figure, between))
    protocol = {name: value for name, value in result["protocol"].items() if value is not None}
    how = [f"{name.replace('_', ' ')} {fact(value)}" for name, value in protocol.items()]
    note = element("p", "; ".join([f"{count(result['num_images'])} images", *how]), class_="note")
    return join([element("ul", *cards, class_="cards"), note])


def swatch(color: Sequence[int]) -> Markup:
    """A small square of an RGB colour, 0 to 255."""
    square = element("rect", width=12, height=12, rx=2, fill="#" + "".join(f"{value:02x}" for value in color))
    return element("svg", square, viewBox="0 0 12 12", class_="swatch", aria_hidden="true")


def class_table(result: Mapping, palette: Sequence[Sequence[int]]) -> Markup:
    """A sortable row per class; the bar under the IoU repeats it, intervals are sorted by their width."""
    total = sum(row["pixels"] for row in result["per_class"].values())
    rows = []
    for (name, row), color in zip(result["per_class"].items(), palette, strict=True):
        interval, share = row["interval"], row["pixels"] / total if total else None
        cells = [
            _iou_cell(row["iou"]),
            number(_between(interval), interval[1] - interval[0] if interval else None),
            *(number(percent(row[key]), row[key]) for key in ("precision", "recall")),
            number(count(row["pixels"]), row["pixels"]),
            number(percent(share), share),
        ]
        rows.append([join([swatch(color), name]), *cells])
    titles = ["class", "IoU %", "95 % interval", "precision %", "recall %", "pixels", "share %"]
    return table(titles, rows, sortable=True)


def boundary_scores(boundary: Mapping) -> Markup:
    """Boundary F-score by threshold and Boundary IoU, of each class and their means; `boundary` as in metrics.json."""
    columns = {
        f"F at {100 * float(share):g} %": (row["mean_f"], row["per_class"])
        for share, row in boundary["f_score"].items()
    }
    columns["Boundary IoU %"] = (boundary["iou"]["mean_iou"], boundary["iou"]["per_class"])
    rows = [["mean", *(number(percent(mean), mean) for mean, _ in columns.values())]]
    for name in boundary["iou"]["per_class"]:
        rows.append([name, *(number(percent(values[name]), values[name]) for _, values in columns.values())])
    note = "F-score at a tolerance in percent of the image's diagonal; Boundary IoU in a band of 2 % of it."
    return join([table(["class", *columns], rows, sortable=True), element("p", note, class_="note")])


def confusion_table(matrix: np.ndarray, names: Sequence[str]) -> Markup:
    """The most frequent confusions: pixels of one class that are predicted as another."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    most = [int(i) for i in np.argsort(-wrong, axis=None, kind="stable")[:CONFUSIONS] if wrong.flat[i]]
    if not most:
        return element("p", "No labelled pixel is predicted wrongly.")
    rows = []
    for true, predicted in (divmod(i, len(names)) for i in most):
        pixels = int(wrong[true, predicted])
        share = pixels / int(matrix[true].sum())
        rows.append([names[true], names[predicted], number(count(pixels), pixels), number(percent(share), share)])
    return table(["true class", "predicted as", "pixels", "% of the true class"], rows)


def _between(interval: Sequence[float] | None) -> str:
    return f"{percent(interval[0], 1)} to {percent(interval[1], 1)}" if interval else "n/a"


def _iou_cell(iou: float | None) -> Markup:
    cell = number(percent(iou), iou)
    if iou is None:
        return cell
    bar = element("rect", width=round(100 * iou, 1), height=4)
    drawing = element("svg", bar, viewBox="0 0 100 4", preserveAspectRatio="none", class_="meter", aria_hidden="true")
    return Markup(cell.removesuffix("</td>") + drawing + "</td>")
