"""The parts of the documentation that are drawn from receipts and benchmarks: tables between marks, and curves."""

import re
import statistics
from collections.abc import Mapping
from pathlib import Path

from engine.report import draw_curves
from engine.report.formats import percent
from scripts.receipts import speed
from scripts.receipts.command import ROOT
from scripts.receipts.store import CURVES, RESULTS, load_results
from utils.errors import DataError

PAGES = ("README.md", "docs/results.md", "docs/speed.md")
PICTURE = "curves.svg"
OWN_PAGE = "tables.md"
OWN_PARTS = {"results": "Results", "classes": "Classes", "comparisons": "Comparisons", "receipts": "Receipts"}
_PART = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
PROTOCOL = ("train_split", "input_size", "scales", "flip")  # of receipts: one recipe may be scored in several ways
Receipts = Mapping[str, Mapping]


def render(results: Path, root: Path | None = None) -> dict[Path, str]:
    """What the files that show receipts have to hold, by path: of this repository's those of the documentation, of any
    other folder of receipts the page `tables.md` in it.

    Args:
        results: Folder of the receipts.
        root: Folder of the documentation; unset: this repository, for its own receipts.

    Raises:
        DataError: A receipt is damaged, or a page has a mark that isn't known.
    """
    receipts, comparisons = load_results(results)
    parts = {
        "results": results_table(receipts),
        "classes": class_tables(receipts),
        "comparisons": comparison_table(comparisons),
        "receipts": receipt_sections(receipts, results, "results/"),
        "speed": _table(speed.SPEED, speed.speed_rows(results)),
        "roofline": _table(speed.ROOFLINE, speed.roofline_rows(results)),
        "latency": _table(speed.LATENCY, speed.latency_rows(results)),
        "revisions": _table(speed.REVISIONS, speed.revision_rows(results)),
        "profile": _table(speed.PROFILE, speed.profile_rows(results)),
    }
    files, own = {}, root is None and results.resolve() != RESULTS.resolve()
    root = root or ROOT
    if own:
        parts["receipts"] = receipt_sections(receipts, results)
        files[results / OWN_PAGE] = (
            "\n\n".join(f"## {title}\n{parts[part]}" for part, title in OWN_PARTS.items()) + "\n"
        )
    for name in () if own else PAGES:
        text = (root / name).read_text()
        if unknown := {part for _, part, _ in _PART.findall(text)} - parts.keys():
            raise DataError(f"{root / name}: there is no table {min(unknown)}; there are {', '.join(parts)}")
        files[root / name] = _PART.sub(lambda match: f"{match[1]}{parts[match[2]]}\n{match[3]}", text)
    for name in receipts:
        if (results / name / CURVES).exists():
            files[results / name / PICTURE] = draw_curves(results / name / CURVES)
    return files


def results_table(receipts: Receipts) -> str:
    """A row per recipe: of several seeds their mean and standard deviation, of one the interval over images."""
    rows = []
    for names in _recipes(receipts):
        receipt, scores = receipts[names[0]], [receipts[name]["mean_iou"] for name in names]
        minutes = sorted({round(receipts[name]["seconds"] / 60) for name in names})
        score, interval = percent(statistics.mean(scores), 1), _interval(receipt["interval"])
        if len(names) > 1:
            spread = 100 * statistics.stdev(scores)
            score, interval = f"{score} ± {spread:.1f}, {len(names)} seeds", ""
        rows.append(
            [
                f"`{receipt['dataset']}` {receipt['split']}, {receipt['metrics']['num_images']} images, "
                f"{len(receipt['metrics']['per_class'])} classes",
                f"`{receipt['arch']}`",
                f"{receipt['title']}; {_span(minutes)} minutes",
                score,
                interval,
                ", ".join(f"`{name}`" for name in names),
            ]
        )
    head = ["data", "model", "trained", "mIoU, ± standard deviation over seeds", "95 % interval over images", "receipt"]
    return _table(head, rows)


def class_tables(receipts: Receipts) -> str:
    """IoU of each class, a table per split and a row per recipe, of several seeds their mean."""
    tables: dict[tuple[str, ...], list[list[str]]] = {}
    for names in _recipes(receipts):
        scores = [receipts[name]["metrics"]["per_class"] for name in names]
        first = receipts[names[0]]
        head = [f"`{first['dataset']}` {first['split']}", *scores[0]]
        title = f"`{names[0]}`" + (f", mean of {len(names)} seeds" if len(names) > 1 else "")
        means = [_mean([score[label]["iou"] for score in scores]) for label in scores[0]]
        tables.setdefault(tuple(head), []).append([title, *(percent(mean, 1) for mean in means)])
    return "\n\n".join(_table(list(head), rows) for head, rows in tables.items())


def comparison_table(comparisons: Mapping[str, Mapping]) -> str:
    """A row per comparison; * marks an interval without 0."""
    rows = []
    for comparison in comparisons.values():
        mean = comparison["mean_iou"]
        low, high = mean["interval"]
        clear = "" if low <= 0 <= high else " *"
        names = [f"`{name}`" for name in comparison["receipts"]]
        rows.append([*names, f"{100 * mean['difference']:+.1f}{clear}", _interval(mean["interval"], "+")])
    return _table(["A", "B", "B - A, mIoU", "95 % interval, paired over images"], rows) if rows else "None yet."


def receipt_sections(receipts: Receipts, results: Path, place: str = "") -> str:
    """What each receipt says besides its scores, with its curves, which lie in `place` as seen from the page."""
    parts = []
    for name, receipt in receipts.items():
        allowed = receipt["tolerance"]["mean_iou"]
        within = "not stated" if allowed is None else f"{100 * allowed:.1f} points of mIoU"
        versions = ", ".join(f"{package} {version}" for package, version in receipt["versions"].items())
        lines = [
            f"### {name}",
            f"{receipt['variant']}.",
            "",
            f"- Seed {receipt['seed']}, revision `{receipt['revision'][:12]}`, {versions}; {receipt['hardware']}.",
            f"- Tolerance: {within}. It covers {receipt['tolerance']['covers']}.",
            f"- Command, with `OUT` an empty folder and `DATA` that of the data set: `{receipt['command']}`",
        ]
        if (results / name / CURVES).exists():
            lines += ["", f"![loss and validation scores over the epochs]({place}{name}/{PICTURE})"]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _recipes(receipts: Receipts) -> list[list[str]]:
    """The ids of receipts that differ in their seeds only."""
    recipes: dict[tuple, list[str]] = {}
    for name, receipt in receipts.items():
        alike = (receipt["dataset"], receipt["split"], receipt["arch"], *(str(receipt.get(key)) for key in PROTOCOL))
        recipes.setdefault((receipt.get("recipe", name), *alike), []).append(name)
    for names in recipes.values():
        if len({receipts[name]["seed"] for name in names}) < len(names):
            raise DataError(f"{', '.join(names)}: of one recipe and seed; give one of them another --recipe")
    return list(recipes.values())


def _span(values: list[int]) -> str:
    """The least and the greatest of sorted numbers."""
    return str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"


def _mean(values: list[float | None]) -> float | None:
    """Of those that are there: a class without a pixel has none."""
    return statistics.mean(there) if (there := [value for value in values if value is not None]) else None


def _interval(interval: list[float] | None, sign: str = "") -> str:
    return " to ".join(format(100 * end, f"{sign}.1f") for end in interval) if interval else "n/a"


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])
