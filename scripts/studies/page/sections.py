"""The sections of a study's page, from the content of `study.json` and the curves of its runs."""

from collections.abc import Mapping
from pathlib import Path

from markupsafe import Markup

from engine.report.rendering import renderer
from engine.report.tables import Table
from scripts.studies.page.charts import Row, RowChart, curve_chart
from scripts.studies.page.tables import HEAD, ends, findings, latex, markdown, mean_and_spread, points, table_rows
from scripts.studies.results import Variants

TEMPLATES = Path(__file__).with_name("templates")
METHOD = (
    "Mean IoU of {scored}. ± is the standard deviation over seeds. The interval of a difference to {reference} covers"
    " new seeds and new images: t times the square root of s² / n of both variants plus the variance over images, a"
    " bootstrap over {over}; degrees of freedom by Satterthwaite; equal seeds are not pairs. p is corrected for all"
    " comparisons of the study (Holm); * marks p below 0.05."
)
PLANNING = (
    "From seeds, from images: their parts of the variance of the difference. Seeds for X: of each variant, to see X"
    " points with a probability of 80 %, with this spread and these images; more images: no number of seeds suffices."
    " From few seeds the spread itself is uncertain, so plan a few more."
)

render = renderer(TEMPLATES)


def score_section(results: Mapping, colors: Mapping[str, str]) -> Markup:
    """What holds, in sentences, charts and a table."""
    rows = results["variants"].items()
    charts = [
        RowChart(
            "Mean IoU, %: a dot is a run, the bar their mean",
            [Row(name, colors[name], row["mean_iou"], row["mean"], None, mean_and_spread(row)) for name, row in rows],
        )
    ]
    compared = [
        Row(name, colors[name], (), row["difference"], row["interval"], _with_interval(row))
        for name, row in rows
        if row["difference"] is not None
    ]
    if compared:
        title = f"Difference to {results['reference']}, points, with its 95 % interval"
        charts.append(RowChart(title, compared, zero=True))
    said = [(colors.get(name, ""), text) for name, text in findings(results)]
    table = Table(dict.fromkeys(HEAD, "text"), table_rows(results))
    return render("study_scores.html", findings=said, charts=charts, table=table, note=_method(results))


def _method(results: Mapping) -> str:
    over = "single images"
    if results["frames_in_order"]:
        over = f"{results['blocks']} blocks of about 20 consecutive frames of a drive"
    scored = f"{results['num_images']} images of {results['dataset']} {results['split']}"
    return METHOD.format(scored=scored, reference=results["reference"], over=over)


def _with_interval(row: Mapping, digits: int = 2) -> str:
    return f"{points(row['difference'], digits)} ({ends(row['interval'], digits)})"


def power_section(results: Mapping) -> Markup:
    """What the study could have seen, and what a wanted difference needs."""
    known = {name: row for name, row in results["variants"].items() if row.get("visible") is not None}
    if not known:
        text = "Without an interval nothing can be said about the smallest difference that this study could have seen."
        return render("study_power.html", text=text, table=Table({}, []), note="")
    least = max(row["visible"] for row in known.values())
    text = (
        f"This study could have seen a difference of {100 * least:.2f} points in"
        " mean IoU: one of that size is found by Holm's test with a probability of 80 %. A smaller one may be there and"
        " stay unseen."
    )
    wanted = [f"seeds for {100 * float(one):g}" for one in next(iter(known.values()))["seeds_needed"]]
    columns = dict.fromkeys(["variant", "visible, points", "from seeds", "from images", *wanted], "text")
    table = Table(columns, [_power_row(name, row) for name, row in known.items()])
    return render("study_power.html", text=text, table=table, note=PLANNING)


def _power_row(name: str, row: Mapping) -> list[str]:
    total = row["standard_error"] ** 2
    images = row["variance"]["images"] / total if total else 0.0
    needed = (str(number) if number else "more images" for number in row["seeds_needed"].values())
    return [name, f"{100 * row['visible']:.2f}", f"{100 * (1 - images):.0f} %", f"{100 * images:.0f} %", *needed]


def curve_section(variants: Variants, colors: Mapping[str, str]) -> Markup:
    """The validation scores of all runs while they trained."""
    shown = [(colors[name], name) for name, records in variants.items() if records]
    return render("study_curves.html", chart=curve_chart(variants), keys=shown)


def class_section(results: Mapping) -> Markup:
    """Means per class, and their differences."""
    variants = results["variants"]
    classes = list(next(iter(variants.values()))["per_class"])
    rows = [[one, *(mean_and_spread(row["per_class"][one]) for row in variants.values())] for one in classes]
    table = Table(dict.fromkeys(["class, IoU %", *variants], "text"), rows)
    others = [name for name, row in variants.items() if row["difference"] is not None]
    rows = [[one, *(_with_interval(variants[name]["per_class"][one], 1) for name in others)] for one in classes]
    differences = Table(dict.fromkeys(["class", *others], "text"), rows)
    return render("study_classes.html", table=table, differences=differences, reference=results["reference"])


def cost_section(results: Mapping) -> Markup:
    """Time and memory of training."""
    columns = dict.fromkeys(["variant", "minutes, mean", "least to most", "most memory, GiB"], "text")
    rows = []
    for name, row in results["variants"].items():
        minutes = [seconds / 60 for seconds in row["seconds"] if seconds is not None]
        memory = [size / 2**30 for size in row["memory"] if size is not None]
        mean = f"{sum(minutes) / len(minutes):.1f}" if minutes else "n/a"
        spread = f"{min(minutes):.1f} to {max(minutes):.1f}" if minutes else "n/a"
        rows.append([name, mean, spread, f"{max(memory):.2f}" if memory else "n/a"])
    return render("study_costs.html", table=Table(columns, rows))


def table_section(results: Mapping) -> Markup:
    """The table of the scores, to be copied."""
    return render("study_tables.html", markdown=markdown(results), latex=latex(results))


def option_section(results: Mapping) -> Markup:
    """Options that aren't the default, and the files that were scored."""
    variants = results["variants"]
    rows = [row["options"] for row in variants.values()]
    named = sorted({option for row in rows for option in row})
    same = [option for option in named if all(option in row and row[option] == rows[0][option] for row in rows)]
    facts = {"All variants": {option: rows[0][option] for option in same}}
    for name, row in variants.items():
        facts[name] = {option: row["options"].get(option, "default") for option in named if option not in same}
        facts[name] |= {"trained in": row["precision"], "scored in": row["scored_precision"]}
        for run in row["runs"]:
            revision = (run["revision"] or "unknown")[:12]
            facts[name][f"seed {run['seed']}"] = f"{run['scored']} {run['sha256'][:12]}, revision {revision}"
    facts["Scored"] = {"data set": results["dataset"], "split": results["split"], **results["protocol"]}
    return render("facts.html", facts=facts)
