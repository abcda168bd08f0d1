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


def table_rows(results: Mapping) -> list[list[str]]:
    """A row for each variant, under `HEAD`."""
    rows = []
    for name, row in results["variants"].items():
        cells = [name, str(len(row["seeds"])), mean_and_spread(row)]
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
    return (
        "\n".join(["\\begin{tabular}{lrrrrr}", "\\toprule", head, "\\midrule", *body, "\\bottomrule", "\\end{tabular}"])
        + "\n"
    )


def _escape(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {letter: f"\\{letter}" for letter in "&%$#_{}"}
    special |= {"±": r"$\pm$", "\N{MINUS SIGN}": "$-$", "<": "$<$", ">": "$>$", "*": "$^*$"}
    return re.sub(r"[\\~^&%$#_{}±\u2212<>*]", lambda match: special[match[0]], text)
