"""Variants x seeds: run what is missing, and say what holds, with intervals over seeds and images.

Usage: python scripts/study.py STUDY.json --out DIR [--list] [--only I/N] [--time_limit MINUTES]
       python scripts/study.py [STUDY.json] --runs RUN... --out DIR

STUDY.json: {"base": {option: value}, "variants": {name: {option: value}}, "seeds": [1, 2, 3]}; the first variant is the
reference. Runs live in --runs_folder under the key of options, data and precision, so finished ones are used again,
by other studies too, and one that was killed resumes. --runs takes runs of train.py, or records, and trains none.
"""

import sys
from pathlib import Path

if __name__ == "__main__":  # from anywhere, without installation, and before PyTorch is loaded
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from utils.machine import limit_spinning

    limit_spinning()

import argparse
import re
import signal
from collections.abc import Mapping, Sequence

from scripts.studies.gathering import by_options, by_variant, gather
from scripts.studies.page import findings, markdown, write_study
from scripts.studies.programs import Clock, OutOfTime
from scripts.studies.record import RunRecord
from scripts.studies.results import build_results
from scripts.studies.runs import StudyRun, make_missing, study_runs
from scripts.studies.study_file import Study, read_study
from utils.cli import run_main
from utils.errors import OptionError
from utils.files import make_folder, write_json
from utils.logging import setup_logging
from utils.options import Parser, finite, numbers

RUNS = "runs/studies"
WANTED = (0.005, 0.01, 0.02)
STOPPED = "stopped; the same command resumes"


def share(text: str) -> tuple[int, int]:
    """'2/4' -> (2, 4). Raises ValueError unless the first is from 1 to the second."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise ValueError(text)
    return int(found[1]), int(found[2])


share.__name__ = "I/N with I from 1 to N"


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Checked options. Raises `OptionError`."""
    parser = Parser(prog="study.py", description=__doc__.splitlines()[0])
    parser.add_argument("study", metavar="STUDY.json", type=Path, nargs="?", help="base, variants and seeds")
    parser.add_argument("--out", metavar="DIR", type=Path, help="where study.json and report.html go")
    parser.add_argument("--runs", metavar="RUN", type=Path, nargs="+", help="only these runs: folders, or records")
    parser.add_argument("--runs_folder", type=Path, default=Path(RUNS), help="where runs live, under their keys")
    parser.add_argument("--split", help="split that every run is scored on; unset: val, or as records say")
    parser.add_argument("--list", action="store_true", help="print the missing runs' commands; run nothing")
    parser.add_argument("--only", metavar="I/N", type=share, help="of the study's runs every N-th, from the I-th on")
    parser.add_argument(
        "--time_limit", metavar="MINUTES", type=finite, help="stop cleanly before; the next call resumes"
    )
    parser.add_argument(
        "--wanted", type=numbers(float), default=WANTED, help="differences of mean IoU to plan seeds for"
    )
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    options = parser.parse_args(argv)
    if options.study is None and options.runs is None:
        raise OptionError("study.py: name a STUDY.json, or runs with --runs; see study.py --help")
    if options.out is None and not options.list:
        raise OptionError("--out: name the folder for study.json and report.html")
    if options.runs is not None and (options.list or options.only):
        raise OptionError(f"--runs with {'--list' if options.list else '--only'}: --runs trains nothing; leave one out")
    if options.runs is not None and options.runs_folder != Path(RUNS):
        raise OptionError("--runs with --runs_folder: --runs trains nothing; leave one out")
    if options.time_limit is not None and options.time_limit <= 0:
        raise OptionError(f"--time_limit {options.time_limit:g}: must be more than 0 minutes")
    if not options.wanted or min(options.wanted) <= 0:
        raise OptionError(f"--wanted {options.wanted}: give one or more fractions above 0, such as 0.01")
    return options


def run_study(study: Study, options: argparse.Namespace, clock: Clock) -> tuple[dict[str, list[RunRecord]], int]:
    """Make this share of the missing runs; the records of all finished ones, and how many are missing."""
    folder = make_folder(options.runs_folder, "--runs_folder")
    runs = study_runs(study, folder, options.split or "val")
    first, step = options.only or (1, 1)
    ours = runs[first - 1 :: step]
    for run in runs:  # refuses before anything runs
        run.finished()
    if options.list:
        print("\n".join(run.command for run in ours if run.finished() is None))
        return {}, 0

    def say(run: StudyRun) -> None:
        number = runs.index(run) + 1
        print(
            f"run {number} of {len(runs)}: {run.plan.variant}, seed {run.plan.seed}; {run.folder}/train.log", flush=True
        )

    try:
        make_missing(ours, clock, say)
    except OutOfTime:
        print(STOPPED, flush=True)
    variants: dict[str, list[RunRecord]] = {name: [] for name in study.variants}
    for run in runs:
        if record := run.finished():
            variants[run.plan.variant].append(record)
    return variants, len(runs) - sum(map(len, variants.values()))


def leave_results(options: argparse.Namespace, variants: Mapping[str, list[RunRecord]], missing: int) -> None:
    """Write `study.json` and `report.html`, and print what they say."""
    results = build_results(variants, options.wanted, missing)
    folder = make_folder(options.out, "--out")
    title = f"{options.study.stem if options.study else 'Runs'} on {results['dataset']} {results['split']}"
    write_json(folder / "study.json", results)
    write_study(folder / "report.html", title, results, variants)
    print(markdown(results), end="")
    for _, text in findings(results):
        print(text)
    print(f"report: {folder / 'report.html'}")


def body(argv: Sequence[str]) -> None:
    """Parse, check, run, compare."""
    options = parse(argv)
    study = read_study(options.study) if options.study else None
    setup_logging(True)
    clock = Clock(options.time_limit)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, clock.ask)
    if options.runs is None:
        variants, missing = run_study(study, options, clock)
        if options.list:
            return
    else:
        try:
            records = gather(options.runs, options.split, clock)
        except OutOfTime:
            print(STOPPED)
            return
        variants = by_variant(study, options.runs, records) if study else by_options(records)
        missing = len(study.runs()) - len(records) if study else 0
    if not any(variants.values()):
        print("no run is finished yet, so there is nothing to compare")
        return
    leave_results(options, variants, missing)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(body, argv)


if __name__ == "__main__":
    sys.exit(main())
