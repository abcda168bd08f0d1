"""report.html of robustness.py: scores, charts by strength, a table with intervals, one image in every corruption."""

import dataclasses
from pathlib import Path

import numpy as np

from engine.evaluation.scoring import Evaluation
from engine.report.charts import Chart
from engine.report.page import versions, write_page
from engine.report.pictures import ImageSampler, jpeg, png
from engine.report.rendering import Markup, renderer
from engine.report.tables import Table
from scripts.corrupted.cells import Key, RobustnessRun
from transforms.corruptions import GROUPS
from utils.constants import IGNORE_LABEL
from utils.drawing import WRONG, error_map
from utils.metrics.confusion import compute_metrics, confusion_matrix

render = renderer(Path(__file__).with_name("templates"))


def write_robustness_page(path: Path, run: RobustnessRun, result: dict, clean: Evaluation) -> None:
    """Write the page; `result` is what robustness.json holds. Raises `EnvironmentFault` if it can't be written."""
    facts = {name: result[name] for name in ("dataset", "split", "num_images", "snapshot_sha256", "command")}
    groups = {"Weights and data": facts, "Options": dataclasses.asdict(run.options), "Versions": versions()}
    sections = {
        "Robustness": scores_section(result),
        "Images": images_section(run, result, clean),
        "Options and hashes": render("facts.html", facts=groups),
    }
    write_page(path, f"{run.model.title} on corrupted {run.split.dataset} {run.split.split}", sections)


def scores_section(result: dict) -> Markup:
    """Cards, charts and tables."""
    mean = result["mean"]
    cards = {
        "clean mean IoU": {"value": result["clean"], "interval": result["clean_interval"]},
        "corrupted, mean of all": {"value": mean["mean_iou"], "interval": mean["interval"]},
        "relative to clean": {"value": mean["relative"], "interval": mean["relative_interval"]},
    }
    return render(
        "robustness.html",
        cards=cards,
        notes=_notes(result),
        charts=list(_charts(result)),
        overview=_overview(result),
        cells=_cells(result),
    )


def _notes(result: dict) -> list[str]:
    said = [f"{result['num_images']} images, each corrupted at its own size before it is normalised."]
    if result["clean_interval"]:
        said.append("Intervals: 95 %, bootstrap over images; of a ratio the same images are drawn for both.")
    else:
        said.append("No intervals: they need at least two labelled images, and a bootstrap.")
    seconds = result["seconds_per_image"]
    if None not in seconds.values():
        said.append(f"Seconds per image: {seconds['clean']:.3f} clean, {seconds['corrupted']:.3f} corrupted.")
    return said + [f"{note[0].upper()}{note[1:]}." for note in result["left_out"]]


def _charts(result: dict):
    """One for each group of corruptions, from the clean score on."""
    strengths = result["strengths"]
    for group, names in GROUPS.items():
        series = {
            _title(name): [result["clean"], *(result["cells"][name][str(s)]["mean_iou"] for s in strengths)]
            for name in names
            if name in result["cells"]
        }
        if series:
            labels = ["clean", *map(str, strengths)]
            yield Chart(group.capitalize(), "strength", [0, *strengths], series, x_labels=labels)


def _overview(result: dict) -> Table:
    """A row per corruption and their mean."""
    strengths = [str(strength) for strength in result["strengths"]]
    columns = {"corruption": "text", "% of clean": "percent, bar", "its 95 % interval": "interval"}
    columns |= {"mean IoU": "percent1", "interval": "interval"}
    columns |= dict.fromkeys((f"strength {s}" for s in strengths), "percent1")
    every = {_title(name): (row, result["corruptions"][name]) for name, row in result["cells"].items()}
    means = {
        s: {"mean_iou": float(np.mean([row[s]["mean_iou"] for row in result["cells"].values()]))} for s in strengths
    }
    every["mean of all"] = means, result["mean"]
    rows = [
        [name, *(mean[key] for key in ("relative", "relative_interval", "mean_iou", "interval")),
         *(row[s]["mean_iou"] for s in strengths)]
        for name, (row, mean) in every.items()
    ]  # fmt: skip
    return Table(columns, rows, sortable=True)


def _cells(result: dict) -> Table:
    columns = {"corruption": "text", "strength": "count", "mean IoU": "percent", "95 % interval": "interval"}
    columns |= {"% of clean": "percent", "its interval": "interval"}
    names = ("mean_iou", "interval", "relative", "relative_interval")
    rows = [
        [_title(corruption), int(strength), *(score[name] for name in names)]
        for corruption, row in result["cells"].items()
        for strength, score in row.items()
    ]
    return Table(columns, rows, sortable=True)


def images_section(run: RobustnessRun, result: dict, clean: Evaluation) -> Markup:
    """The image whose own clean score is the median one, as it is and in every corruption."""
    classes = run.split.classes
    scored = [(compute_metrics(image.confusion, classes.names)["mean_iou"], image.index) for image in clean.images]
    ranked = sorted(pair for pair in scored if pair[0] is not None)
    index = ranked[len(ranked) // 2][1]
    low, high = min(result["strengths"]), max(result["strengths"])
    rows = [_row(run, index, None, low)]
    rows += [_row(run, index, (corruption, high), low) for corruption in result["cells"]]
    legend = [*zip(classes.names, classes.palette, strict=True), ("ignored", (0, 0, 0)), ("wrong (errors)", WRONG)]
    name = run.split.names[index]
    note = f"Image {name}: its score is the median one of the clean images. Predictions are those of strength {high}."
    return render("corrupted.html", legend=legend, note=note, rows=rows)


def _row(run: RobustnessRun, index: int, key: Key, low: int) -> tuple[str, float | None, dict[str, str]]:
    """Title, the image's mean IoU, and its panels; `low`: a strength that is shown beside the key's."""
    image, truth, prediction = ImageSampler(run.dataset(key), run.model.predict)(index)
    classes, count = run.split.classes, run.split.classes.num_classes
    known = np.minimum(prediction, count)  # a class of the model may be none of the data's
    matrix = confusion_matrix(known, truth, count + 1, IGNORE_LABEL)[:count]
    score = compute_metrics(matrix, classes.names)["mean_iou"]
    if key is None:
        shown = {"input": jpeg(image), "truth": png(truth, classes.palette)}
    elif low == key[1]:
        shown = {f"strength {low}": jpeg(image)}
    else:
        weak = run.dataset((key[0], low)).split.load_image(index)
        shown = {f"strength {low}": jpeg(weak), f"strength {key[1]}": jpeg(image)}
    shown |= {
        "prediction": png(prediction, classes.palette),
        "errors": jpeg(error_map(image, prediction, truth, IGNORE_LABEL)),
    }
    return "clean" if key is None else _title(key[0]), score, shown


def _title(name: str) -> str:
    return name.replace("_", " ")
