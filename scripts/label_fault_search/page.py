"""The page to look through: suspicious images with their regions, and what leaving them out does to the score."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from engine.report.page import versions, write_page
from engine.report.pictures import jpeg, png
from engine.report.rendering import renderer
from engine.report.tables import Table
from scripts.label_fault_search.predictions import Judges
from scripts.label_fault_search.search import Fault

TEMPLATES = Path(__file__).with_name("templates")
STYLE = ".panels.three { grid-template-columns: repeat(3, 1fr); } .legend { margin: 10px 0; }"
MARKED = 5  # regions of an image that are framed
FRAME = (255, 255, 255), (220, 20, 60)  # its colour outside and inside

render = renderer(TEMPLATES)


def write_faults_page(
    path: Path, faults: Sequence[Fault], judges: Judges, effect: Sequence[dict], trial: dict | None
) -> None:
    """Write the HTML file. Raises `EnvironmentFault` if it can't be written."""
    split = judges.split
    legend = [*zip(split.classes.names, split.classes.palette, strict=True), ("ignored", (0, 0, 0))]
    images = [_image(fault, judges) for fault in faults]
    sections = {"Images": render("faults_images.html", images=images, legend=legend)}
    if effect:
        sections["Score"] = render("faults_effect.html", table=_effect_table(effect))
    if trial:
        sections["Planted faults"] = render("faults_trial.html", trial=trial, table=_trial_table(trial))
    facts = {"Search": {"data set": split.dataset, "split": split.split, "images": len(split)}}
    facts["Search"]["judged by"] = judges.describe().removeprefix("judged by ")
    sections["Options"] = render("facts.html", facts=facts | {"Versions": versions()})
    write_page(path, f"Suspicious labels of {split.dataset} {split.split}", sections, STYLE)


def _image(fault: Fault, judges: Judges) -> dict:
    split, index = judges.split, fault.index
    names, palette = split.classes.names, split.classes.palette
    probability, label = judges.judge(index)
    regions = [
        {"label": names[region.label], "predicted": names[region.predicted], "score": score, "box": region.box}
        for score, region in fault.regions[:MARKED]
    ]
    note = ""
    if fault.offset is not None:
        note = f"the label fits when it is moved by about {fault.offset[0]:+d} pixels across, {fault.offset[1]:+d} down"
    if fault.like is not None:
        note = f"the label fits {split.names[fault.like]} better"
    panels = {
        "image": jpeg(_framed(split.load_image(index), fault)),
        "label": png(label, palette),
        "prediction": png(probability.argmax(0).astype(np.uint8), palette),
    }
    return {
        "name": split.names[index],
        "score": fault.score,
        "kind": fault.kind.replace("_", " "),
        "note": note,
        "trained_on": judges.seen(index),
        "regions": regions,
        "panels": panels,
    }


def _framed(picture: np.ndarray, fault: Fault) -> np.ndarray:
    picture = np.ascontiguousarray(picture).copy()
    thin = max(1, round(max(picture.shape) / 500))
    for _, region in fault.regions[:MARKED]:
        x, y, width, height = region.box
        for color, thickness in zip(FRAME, (3 * thin, thin), strict=True):
            cv2.rectangle(picture, (x, y), (x + width - 1, y + height - 1), color, thickness)
    return picture


def _effect_table(effect: Sequence[dict]) -> Table:
    columns = {"images left out": "text", "without the flagged ones, mean IoU %": "percent"}
    columns |= {"without as many random ones": "percent", "95 % of the draws": "interval"}
    rows = [["none", effect[0]["mean_iou"], effect[0]["mean_iou"], None]]
    keys = ("without_flagged", "without_random", "interval")
    rows += [[str(row["left_out"]), *(row[key] for key in keys)] for row in effect]
    return Table(columns, rows)


def _trial_table(trial: dict) -> Table:
    columns = {"kind": "text", "planted": "count", "found %": "percent", "95 % interval": "interval"}
    columns |= {"of these: kind told %": "percent", "region met %": "percent"}
    rows = []
    for kind, row in trial["kinds"].items():
        recall, named, located = ((row[key] or {}) for key in ("recall", "named", "located"))
        cells = [recall.get("value"), recall.get("interval"), named.get("value"), located.get("value")]
        rows.append([kind.replace("_", " "), row["planted"], *cells])
    return Table(columns, rows)
