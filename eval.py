"""Score a snapshot on a split: alone, or on several processes under torchrun. `python eval.py --help`."""

import sys

if __name__ == "__main__":  # before PyTorch is loaded
    from utils.machine import limit_spinning

    limit_spinning()

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from config import EvalOptions, parse_eval
from engine.evaluation.build import build_evaluation
from engine.evaluation.run import EvaluationRun
from engine.evaluation.score_files import SCORES, archive_previous
from engine.evaluation.scoring import Evaluation
from engine.report import ImageSampler, Report, write_report
from utils import distributed
from utils.cli import run_main
from utils.distributed import Process
from utils.files import output_folder
from utils.logging import get_logger, setup_logging

REPORT_IMAGES = 6  # of the worst, and as many of the best


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(run, argv)


def run(argv: Sequence[str]) -> None:
    """Parse, archive what an earlier evaluation left, evaluate."""
    options, notes = parse_eval(argv)
    with distributed.job(options.device) as process, output_folder(options.folder, "--save_dir"):
        log = setup_logging(process.is_main)
        for note in notes:
            log.info(note)
        if moved := distributed.from_first_rank(lambda: archive_scores(options)):
            log.info(f"of an earlier evaluation, and now: {', '.join(map(str, moved))}")
        evaluate_snapshot(options, process)


def archive_scores(options: EvalOptions) -> list[Path]:
    """Move scores and zip of an earlier evaluation away, so that none looks like this one's; returns where they are."""
    names = {options.scores_folder: list(SCORES)}  # by folder: what lies in one is moved together
    if options.submission:
        zipped = Path(options.submission)
        names.setdefault(zipped.parent, []).append(zipped.name)
    return [place for folder, found in names.items() for place in archive_previous(folder, found)]


def evaluate_snapshot(options: EvalOptions, process: Process) -> None:
    """Evaluate what is not finished yet, and leave the results in the options' folder."""
    evaluator = build_evaluation(options, process)
    evaluation = evaluator.evaluate()
    if process.is_main and evaluator.split.has_labels:
        result = evaluator.write_scores(evaluation)
        if options.report:
            write_page(evaluator, evaluation, result)
    evaluator.finish(evaluation)


def write_page(run: EvaluationRun, evaluation: Evaluation, result: dict) -> None:
    """Write the page of --report, with the curves of the training run whose folder the snapshot is in."""
    options, split, path = run.options, run.split, run.options.scores_folder / "report.html"
    curves = Path(options.snapshot).with_name("metrics.jsonl")
    sources = {"snapshot": options.snapshot, "snapshot sha256": run.snapshot_sha256, "data set": split.dataset}
    sources |= {"split": split.split, "images scored": result["num_images"], "split sha256": split.fingerprint()}
    report = Report(
        title=f"{run.model.title} on {split.dataset} {split.split}",
        evaluation=evaluation,
        result=result,
        palette=split.classes.palette,
        sampler=ImageSampler(run.dataset, run.model.predict),
        facts={"Weights and data": sources, "Options": dataclasses.asdict(options)},
        most_images=REPORT_IMAGES,
        metrics=curves if curves.is_file() else None,
    )
    write_report(path, report)
    get_logger().info(f"report: {path}")


if __name__ == "__main__":
    sys.exit(main())
