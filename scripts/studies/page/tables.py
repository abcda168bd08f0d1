"""The table of a study in Markdown and LaTeX."""

import re
from collections.abc import Mapping, Sequence

HEAD = ("variant", "seeds", "mean IoU, %", "difference", "95 % interval", "p (Holm)")


def points(value: float | None, digits: int = 2) -> str:
    """A difference of fractions in percentage points, with its sign."""
    if value is None:
        return "n/a"
    text = f"{100 * value:+.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}") if float(text) else text[1:]


def ends(interval: Sequence[float] | None, digits: int = 2) -> str:
    """An interval of a difference in percentage points."""
    return " to ".join(points(end, digits) for end in interval) if interval else "n/a"


def probability(value: float | None) -> str:
    """A p-value."""
    if value is None:
        return "n/a"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def mean_and_spread(row: Mapping) -> str:
    """`65.12 ± 0.41`."""
    spread = f" ± {100 * row['std']:.2f}" if row["std"] is not None else ""
    return "n/a" if row["mean"] is None else f"{100 * row['mean']:.2f}{spread}"


def findings(results: Mapping) -> list[tuple[str, str]]:
    """What a study says: for each comparison the variant and a sentence; of all, with '' as the variant, what is
    missing."""
    reference, lines = results["reference"], []
    if results["missing"]:
        lines.append(("", f"Runs that are missing: {results['missing']}. This is what the others say."))
    for name, row in results["variants"].items():
        if name == reference:
            continue
        if row["difference"] is None:
            lines.append((name, f"{name}: no run of {reference} to compare with."))
        elif row["interval"] is None:
            told = f"{points(row['difference'])} points to {reference}; no interval: {_lacking(results, name)}."
            lines.append((name, f"{name}: {told}"))
        else:
            verb = "differs from" if row["holds"] else "is not told apart from"
            known = f"95 % interval {ends(row['interval'])}, Holm's p {probability(row['p_holm'])}"
            lines.append((name, f"{name} {verb} {reference}: {points(row['difference'])} points, {known}."))
    return lines


def _lacking(results: Mapping, name: str) -> str:
    runs = {one: len(results["variants"][one]["seeds"]) for one in (results["reference"], name)}
    single = [one for one, number in runs.items() if number < 2]
    if single:
        return f"one seed of {' and of '.join(single)} says nothing about others"
    return "a single image says nothing about others"


def table_rows(results: Mapping) -> list[list[str]]:
    """A row for each variant, under `HEAD`."""
    rows = []
    for name, row in results["variants"].items():
        cells = [name, ", ".join(map(str, row["seeds"])), mean_and_spread(row)]
        if name == results["reference"]:
            cells += ["reference", "", ""]
        else:
            mark = " *" if row.get("holds") else ""
            cells += [points(row["difference"]) + mark, ends(row["interval"]), probability(row.get("p_holm"))]
        rows.append(cells)
    return rows


def markdown(results: Mapping) -> str:
    """The table in Markdown; an asterisk marks what holds by Holm."""
    rows = [[cell.replace("|", "\\|").replace("*", "\\*") for cell in row] for row in table_rows(results)]
    lines = [HEAD, ["---", *["---:"] * (len(HEAD) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def latex(results: Mapping) -> str:
    """The table in LaTeX, with booktabs."""
    lines = [[_escape(cell) for cell in row] for row in [HEAD, *table_rows(results)]]
    head, *body = [f"{' & '.join(line)} \\\\" for line in lines]
    lines = ["\\begin{tabular}{lrrrrr}", "\\toprule", head, "\\midrule", *body, "\\bottomrule", "\\end{tabular}"]
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {letter: f"\\{letter}" for letter in "&%$#_{}"}
    special |= {"±": r"$\pm$", "\N{MINUS SIGN}": "$-$", "<": "$<$", ">": "$>$", "*": "$^*$"}
    return re.sub(r"[\\~^&%$#_{}±\u2212<>*]", lambda match: special[match[0]], text)
