"""The checklist as people read it, and as tools do."""

import textwrap
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from datasets.checks.findings import SEVERITIES, Finding, many
from scripts.doctor_checks.visit import Visit
from utils.logging import one_line

WIDTH, INDENT = 110, 11
SHOWN = 5  # files of a finding


def show(finding: Finding, root: Path) -> None:
    """Print one finding; files below `root` are named relative to it."""
    mark = finding.severity if finding.severity in ("ok", "note") else finding.severity.upper()
    _print(_short(finding.what, root), f"  {mark:<{INDENT - 2}}")
    for where in finding.where[:SHOWN]:
        _print(_short(where, root), " " * (INDENT + 2))
    if len(finding.where) > SHOWN:
        print(f"{' ' * (INDENT + 2)}... and {len(finding.where) - SHOWN} more; --json FILE lists them all")
    for line in finding.table:
        print(f"{' ' * (INDENT + 2)}{one_line(line)}")
    if finding.remedy:
        _print(_short(finding.remedy, root), f"{' ' * INDENT}-> ")


def _short(text: str, root: Path) -> str:
    return text.replace(f"{root}/", "")


def _print(text: str, first: str) -> None:
    text = text.encode("utf-8", "replace").decode()  # file names may be no UTF-8
    print(
        textwrap.fill(
            text, WIDTH, initial_indent=first, subsequent_indent=" " * max(len(first), INDENT + 2),
            break_long_words=False, break_on_hyphens=False,
        )
    )  # fmt: skip


def summary(findings: Iterable[Finding], seconds: float) -> str:
    """The last line."""
    counts = {severity: 0 for severity in SEVERITIES}
    for finding in findings:
        counts[finding.severity] += 1
    verdict = "not ready to train on: see the errors" if counts["error"] else "ready to train on"
    return f"{many(counts['error'], 'error')}, {many(counts['warning'], 'warning')}, {seconds:.0f} s: {verdict}"


def exit_code(findings: Iterable[Finding]) -> int:
    """0 without errors; 3 if the data are unusable, else the code of the first error."""
    codes = [finding.exit_code for finding in findings if finding.severity == "error"]
    return 3 if 3 in codes else codes[0] if codes else 0


def _row(finding: Finding) -> dict:
    """Without the table, whose figures are among the details; an exit code is that of an error."""
    left_out = ("table",) if finding.severity == "error" else ("table", "exit_code")
    return {name: value for name, value in asdict(finding).items() if name not in left_out}


def as_data(visit: Visit, sections: dict[str, list[Finding]], seconds: float) -> dict:
    """Everything as plain data."""
    rows = [{"check": title, **_row(finding)} for title, findings in sections.items() for finding in findings]
    every = [finding for findings in sections.values() for finding in findings]
    return {
        "dataset": visit.config.data.dataset,
        "data_root": str(visit.root),
        "arch": visit.config.model.arch,
        "usable": exit_code(every) == 0,
        "exit_code": exit_code(every),
        "seconds": seconds,
        "full": visit.full,
        "findings": rows,
        "details": visit.details,
    }
