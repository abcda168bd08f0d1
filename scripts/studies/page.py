"""A study on one HTML page, from `study.json`'s content and the curves of its runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

from engine.report.page import write_page
from engine.report.rendering import renderer
from engine.report.tables import Table
from scripts.studies.charts import Row, RowChart, color_of, curve_chart
from scripts.studies.record import RunRecord
from scripts.studies.tables import ends, latex, markdown, mean_and_spread, points, probability

TEMPLATES = Path(__file__).with_name("templates")
METHOD = (
    "Mean IoU of {scored}. ± is the standard deviation over seeds. The interval of a difference to {reference} covers new"
    " seeds and new images: t times the square root of s² / n of both variants plus the variance over images, a bootstrap over"
    " {over}; degrees of freedom by Satterthwaite; equal seeds are not pairs. p is corrected for all comparisons of the study"
    " (Holm); * marks p below 0.05."
)

render = renderer(TEMPLATES)


def write_study(
    path: Path, title: str, results: Mapping, variants: Mapping[str, Sequence[RunRecord]], missing: int
) -> None:
    """Write the page.

    Args:
        path: The HTML file.
        title: Headline.
        results: By `build_results`.
        variants: The runs of each.
        missing: Runs that aren't finished.

    Raises:
        EnvironmentFault: It can't be written.
    """
    colors = {name: color_of(index) for index, name in enumerate(variants)}
    sections = {
        "Scores": _scores(results, colors, missing),
        "Power": _power(results),
        "Curves": _curves(variants, colors),
        "Classes": _classes(results),
        "Time and memory": _costs(results),
        "Tables": render("study_tables.html", markdown=markdown(results), latex=latex(results)),
        "Options and runs": _runs(results),
    }
    write_page(path, title, sections, (TEMPLATES / "study.css").read_text(encoding="utf-8"))


def findings(results: Mapping, missing: int = 0) -> list[tuple[str, str]]:
    """What the study says, a sentence for each comparison: the variant, '' for all, and the sentence."""
    reference, lines = results["reference"], []
    if missing:
        lines.append(
            ("", f"{missing} {'run is' if missing == 1 else 'runs are'} missing; this is what the others say.")
        )
    for name, row in results["variants"].items():
        if name == reference:
            continue
        if row["difference"] is None:
            lines.append((name, f"{name}: no run of {reference} to compare with yet."))
        elif row["interval"] is None:
            lines.append(
                (
                    name,
                    f"{name}: {points(row['difference'])} points to {reference}; no interval: {_lacking(results, name)}.",
                )
            )
        else:
            verb = "differs from" if row["holds"] else "is not told apart from"
            known = f"{points(row['difference'])} points, 95 % interval {ends(row['interval'])}, Holm's p {probability(row['p_holm'])}"
            lines.append((name, f"{name} {verb} {reference}: {known}."))
    return lines


def _lacking(results: Mapping, name: str) -> str:
    runs = {one: len(results["variants"][one]["seeds"]) for one in (results["reference"], name)}
    single = [one for one, number in runs.items() if number < 2]
    if single:
        return f"one seed of {' and of '.join(single)} says nothing about others"
    return "a single image says nothing about others"


def _scores(results: Mapping, colors: Mapping[str, str], missing: int) -> Markup:
    variants, reference = results["variants"], results["reference"]
    rows = [
        Row(name, colors[name], row["mean_iou"], row["mean"], None, mean_and_spread(row))
        for name, row in variants.items()
    ]
    charts = [RowChart("Mean IoU, %: a dot is a run, the bar their mean", rows)]
    compared = [
        Row(
            name,
            colors[name],
            (),
            row["difference"],
            row["interval"],
            f"{points(row['difference'])} ({ends(row['interval'])})",
        )
        for name, row in variants.items()
        if row["difference"] is not None
    ]
    if compared:
        charts.append(RowChart(f"Difference to {reference}, points, with its 95 % interval", compared, zero=True))
    columns = {"variant": "text", "seeds": "text", "mean IoU %": "text", "difference": "text", "95 % interval": "text"}
    table = Table(columns | {"p (Holm)": "text"}, [_score_row(name, row, reference) for name, row in variants.items()])
    over = "blocks of about 20 frames of a drive" if results["frames_in_order"] else "single images"
    scored = f"{results['num_images']} images of {results['dataset']} {results['split']}"
    if results["frames_in_order"]:
        over += f", {results['blocks']} of them"
    note = METHOD.format(scored=scored, reference=reference, over=over)
    said = [(colors.get(name, ""), text) for name, text in findings(results, missing)]
    return render("study_scores.html", findings=said, charts=charts, table=table, note=note)


def _score_row(name: str, row: Mapping, reference: str) -> list:
    cells = [name, ", ".join(map(str, row["seeds"])), mean_and_spread(row)]
    if name == reference:
        return [*cells, "reference", "", ""]
    mark = " *" if row.get("holds") else ""
    return [*cells, points(row["difference"]) + mark, ends(row["interval"]), probability(row.get("p_holm"))]


def _power(results: Mapping) -> Markup:
    """What the study could have seen."""
    known = {name: row for name, row in results["variants"].items() if row.get("visible") is not None}
    if not known:
        text = "Without an interval nothing can be said about the smallest difference that this study could have seen."
        return render("study_power.html", text=text, table=Table({}, []), note="")
    least = max(row["visible"] for row in known.values())
    text = (
        f"This study could have seen a difference of {100 * least:.2f} points in mean IoU: one of that size is found by Holm's"
        " test with a probability of 80 %. A smaller one may be there and stay unseen."
    )
    wanted = next(iter(known.values()))["seeds_needed"]
    columns = {"variant": "text", "visible, points": "text", "from seeds": "text", "from images": "text"}
    columns |= {f"seeds for {100 * float(one):g}": "text" for one in wanted}
    rows = []
    for name, row in known.items():
        images = row["variance"]["images"]
        seeds = row["standard_error"] ** 2 - images
        total = max(seeds + images, 1e-30)
        needed = [str(number) if number else "more images" for number in row["seeds_needed"].values()]
        rows.append(
            [
                name,
                f"{100 * row['visible']:.2f}",
                f"{100 * seeds / total:.0f} %",
                f"{100 * images / total:.0f} %",
                *needed,
            ]
        )
    note = (
        "From seeds, from images: their parts of the variance of the difference. Seeds for X: of each variant, to see X points"
        " with a probability of 80 %, with this spread and these images; more images: no number of seeds suffices. From few seeds"
        " the spread itself is uncertain, so plan a few more."
    )
    return render("study_power.html", text=text, table=Table(columns, rows), note=note)


def _curves(variants: Mapping[str, Sequence[RunRecord]], colors: Mapping[str, str]) -> Markup:
    shown = [(colors[name], name) for name, records in variants.items() if records]
    note = "What is scored is the best of these epochs, so where few are validated, the curves have few points."
    return render("study_curves.html", chart=curve_chart(variants), keys=shown, note=note)


def _classes(results: Mapping) -> Markup:
    variants = results["variants"]
    classes = list(next(iter(variants.values()))["per_class"])
    table = Table(
        {"class": "text", **dict.fromkeys((f"{name}, IoU %" for name in variants), "text")},
        [[one, *(mean_and_spread(row["per_class"][one]) for row in variants.values())] for one in classes],
    )
    others = [name for name, row in variants.items() if row["difference"] is not None]
    rows = []
    for one in classes:
        cells = [variants[name]["per_class"][one] for name in others]
        rows.append([one, *(f"{points(cell['difference'])} ({ends(cell['interval'], 1)})" for cell in cells)])
    differences = Table({"class": "text", **dict.fromkeys(others, "text")}, rows)
    return render("study_classes.html", table=table, differences=differences, reference=results["reference"])


def _costs(results: Mapping) -> Markup:
    columns = {
        "variant": "text",
        "minutes of training, mean": "text",
        "least to most": "text",
        "memory, GiB, most": "text",
    }
    rows = []
    for name, row in results["variants"].items():
        minutes = [seconds / 60 for seconds in row["seconds"] if seconds is not None]
        memory = [size / 2**30 for size in row["memory"] if size is not None]
        mean = f"{sum(minutes) / len(minutes):.1f}" if minutes else "n/a"
        spread = f"{min(minutes):.1f} to {max(minutes):.1f}" if minutes else "n/a"
        rows.append([name, mean, spread, f"{max(memory):.2f}" if memory else "n/a"])
    note = "Optimizer steps only, on whatever the machine did besides; memory is the most that the training process held in RAM."
    return render("study_table.html", table=Table(columns, rows), note=note)


def _runs(results: Mapping) -> Markup:
    variants = results["variants"]
    named = {option for row in variants.values() for option in row["options"]}
    common = {option for option in named if len({repr(row["options"].get(option)) for row in variants.values()}) == 1}
    first = next(iter(variants.values()))
    facts = {"All variants": {option: first["options"][option] for option in sorted(common)}}
    for name, row in variants.items():
        facts[name] = {option: row["options"].get(option, "default") for option in sorted(named - common)}
        for run in row["runs"]:
            facts[name] |= {
                f"seed {run['seed']}": f"{run['scored']} {run['sha256'][:12]}, revision {(run['revision'] or 'unknown')[:12]}"
            }
    facts["Scored"] = {"data set": results["dataset"], "split": results["split"], **results["protocol"]}
    return render("facts.html", facts=facts)
