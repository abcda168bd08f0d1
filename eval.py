"""Score a snapshot on a split: alone, or on several processes under torchrun. `python eval.py --help`."""

import dataclasses
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

import datasets
import network
from config import EvalOptions, parse_eval
from datasets.base import IGNORE_LABEL, Split
from datasets.dataset import EvaluationDataset
from datasets.loader import build_eval_loader
from datasets.options import find_root
from datasets.sampling.sampler import evaluation_indices
from engine.checkpoint.loading import check_classes, load_model
from engine.evaluation.boundary import f_score_measure, f_score_summary, iou_measure, iou_summary
from engine.evaluation.journal import EvaluationJournal, fingerprint
from engine.evaluation.per_image import ImageResult, PerImageMetric
from engine.evaluation.prediction_files import PredictionWriter
from engine.evaluation.score_files import archive_previous, describe, summarise, write_per_image
from engine.evaluation.scoring import Evaluation, check_labelled, evaluate
from engine.evaluation.submission import prepare_submission, write_submission
from engine.inference.compiled import CompiledModel
from engine.inference.exported import load_exported
from engine.inference.precision import AUTOCAST
from engine.inference.predictor import build_predictor
from engine.report import Sample, resampler, segment_measure, trimap_measure, write_report
from network.fusing import fuse_for_inference
from transforms import build_eval_transform, denormalize
from utils import distributed
from utils.cli import run_main
from utils.distributed import Process
from utils.errors import OptionError
from utils.files import file_sha256, make_folder, write_json
from utils.logging import get_logger, setup_logging

TEST_MODE_SAMPLES = 4
REPORT_IMAGES = 6  # of the worst, and as many of the best


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(run, argv)


def run(argv: Sequence[str]) -> None:
    """Parse, build, evaluate, write."""
    options, notes = parse_eval(argv)
    with distributed.job(options.device) as process:
        folder = make_folder(options.folder, "--save_dir")
        log = setup_logging(process.is_main)
        for note in notes:
            log.info(note)
        if moved := distributed.from_first_rank(lambda: put_earlier_aside(options)):
            log.info(f"of an earlier evaluation, and now: {', '.join(map(str, moved))}")
        evaluate_snapshot(options, process, folder)


def put_earlier_aside(options: EvalOptions) -> list[Path]:
    """Move scores and zip of an earlier evaluation away, so that none looks like this one's; returns where they are."""
    moved = archive_previous(options.scores_folder)
    if options.submission:
        zipped = Path(options.submission)
        moved += archive_previous(zipped.parent, [zipped.name])
    return moved


def evaluate_snapshot(options: EvalOptions, process: Process, folder: Path) -> None:
    """Evaluate what is not finished yet, and leave the results in `folder`."""
    predictor, split, mean, std = build(options, process)
    transform = build_eval_transform(mean, std)
    part, digest = choose_part(options, split), file_sha256(options.snapshot)
    writes = bool(options.dump_images or options.submission)
    writer = PredictionWriter(
        folder, split.classes, lambda x: denormalize(x, mean, std), IGNORE_LABEL, pictures=options.dump_images
    )
    if options.submission and process.is_main:
        prepare_submission(options.submission, folder / "pred", split)
    partial = EvaluationJournal(
        folder / "partial",
        fingerprint(snapshot=digest, data=split.fingerprint(), options=options.settings(), device=process.device.type),
        lambda index, name: (*split.files(index), *(writer.files(name, split.has_labels) if writes else ())),
        part=f"{options.split_index}_of_{options.split_count}",
    )
    finished = [image for image in partial.start(options.resume) if image.index in part]
    if options.resume:
        get_logger().info(f"resuming: {len(finished)} of {len(part)} images are finished")
    evaluation = evaluate(
        predictor,
        build_loader(options, process, split, transform, part, finished),
        split.classes.num_classes,
        IGNORE_LABEL,
        process.device,
        amp=AUTOCAST[options.amp],
        measures=build_measures(options, split.classes.num_classes),
        on_batch=writer if writes else None,
        on_result=partial.add,
        finished=finished,
        progress=process.is_main,
    )
    if process.is_main and split.has_labels:
        result = write_scores(options, split, evaluation, options.scores_folder, digest)
        if options.report:
            sample = resampler(EvaluationDataset(split, transform), predictor, process.device, AUTOCAST[options.amp])
            title = f"{arch_of(predictor, options)} on {split.dataset} {split.split}"
            report(options, split, title, evaluation, result, sample, options.scores_folder / "report.html")
    if writes:
        get_logger().info(f"{evaluation.num_images} images; predictions are in {folder / 'pred'}")
    if options.submission and process.is_main:  # all processes are done: the evaluation holds the results of them all
        write_submission(options.submission, folder / "pred", split, progress=True)
    partial.remove()


def build(options: EvalOptions, process: Process) -> tuple[Callable[[Tensor], Tensor], Split, tuple, tuple]:
    """The predictor, the split, and the mean and std of the encoder's images."""
    split = build_split(options, options.dataset) if options.dataset else None
    names = split.classes.names if split else None
    if options.exported:
        exported = load_exported(options.snapshot, options.runs_on, options.max_pixels)
        split = split or build_split(options, exported.header["classes"]["dataset"])
        check_classes(exported.header, split.classes.names, options.snapshot)
        return exported.predictor(), split, exported.header["mean"], exported.header["std"]
    model, header, report = load_model(options.snapshot, network.build_model, options.arch, names, options.partial)
    get_logger().info(str(report))
    if split is None:
        split = build_split(options, header["classes"]["dataset"])
        check_classes(header, split.classes.names, options.snapshot)
    model = fuse_for_inference(model).to(process.device, memory_format=torch.channels_last)
    if options.compile:
        model = CompiledModel(model, options.amp != "off")
    return build_predictor(model, **options.predictor()), split, model.encoder.mean, model.encoder.std


def build_split(options: EvalOptions, dataset: str) -> Split:
    """The split that is evaluated."""
    return datasets.build_split(dataset, find_root(dataset, options.data_root), options.split, options.cv_split)


def choose_part(options: EvalOptions, split: Split) -> range:
    """Indices of the part of the split that is asked for.

    Raises:
        OptionError: The part is empty, or a score is asked for and the split has no labels.
        DataError: It has, and they are all void.
    """
    part = range(len(split))[options.split_index :: options.split_count]
    if options.test_mode:
        part = part[:TEST_MODE_SAMPLES]
    if not part:
        raise OptionError(
            f"--split_count {options.split_count}: more than the {len(split)} images of the split; lower it"
        )
    if split.has_labels:
        check_labelled(split, part, IGNORE_LABEL)
    elif options.boundary or options.report or not (options.dump_images or options.submission):
        raise OptionError(
            f"--split {split.split}: there is no score, because the labels of this split of {split.dataset} are not"
            " published or not in its folder; predict it with --dump_images or --submission, or score another split"
        )
    return part


def build_loader(
    options: EvalOptions,
    process: Process,
    split: Split,
    transform: Callable,
    part: Sequence[int],
    finished: Sequence[ImageResult],
) -> Iterable[dict]:
    """Loader of this rank's share of what is not finished."""
    left = sorted(set(part) - {image.index for image in finished})
    indices = [left[i] for i in evaluation_indices(len(left), process.rank, process.world_size)]
    return build_eval_loader(EvaluationDataset(split, transform), indices, options.batch_size, options.num_workers)


def build_measures(options: EvalOptions, num_classes: int) -> list[PerImageMetric]:
    """What is measured besides the confusion matrix."""
    measures = []
    if options.boundary:
        measures.append(f_score_measure(num_classes, IGNORE_LABEL, options.eval_thresholds))
        measures.append(iou_measure(num_classes, IGNORE_LABEL))
    if options.report:
        measures += [trimap_measure(num_classes, IGNORE_LABEL), segment_measure(num_classes, IGNORE_LABEL)]
    return measures


def write_scores(options: EvalOptions, split: Split, evaluation: Evaluation, folder: Path, digest: str) -> dict:
    """Say the scores and write the files that hold them; returns what is in `metrics.json`."""
    names = split.classes.names
    if options.exported:  # labels alone have no likelihood
        images = [dataclasses.replace(image, nll=math.nan) for image in evaluation.images]
        evaluation = dataclasses.replace(evaluation, images=images)
    result = summarise(evaluation, names, options.bootstrap)
    if options.boundary:
        f_scores = f_score_summary(evaluation, names, options.eval_thresholds)
        result["boundary"] = {"f_score": f_scores, "iou": iou_summary(evaluation, names)}
    result |= {"dataset": split.dataset, "split": split.split, "snapshot_sha256": digest, "protocol": protocol(options)}
    write_per_image(folder, evaluation, names)
    write_json(folder / "metrics.json", result)
    for line in describe(result):
        get_logger().info(line)
    get_logger().info(f"{evaluation.num_images} images; scores are in {folder / 'metrics.json'}")
    return result


def arch_of(predictor: Callable[[Tensor], Tensor], options: EvalOptions) -> str:
    """The model's name, or of an exported model its file's."""
    config = getattr(getattr(predictor, "model", None), "config", None)
    return config["arch"] if config else Path(options.snapshot).name


def report(
    options: EvalOptions, split: Split, title: str, evaluation: Evaluation, result: dict, sample: Sample, path: Path
) -> None:
    """Write the page of --report, with the curves of the run whose folder the snapshot is in."""
    curves = Path(options.snapshot).with_name("metrics.jsonl")
    sources = {"snapshot": options.snapshot, "snapshot sha256": result["snapshot_sha256"], "data set": split.dataset}
    sources |= {"split": split.split, "images scored": result["num_images"], "split sha256": split.fingerprint()}
    write_report(
        path,
        title,
        result,
        evaluation,
        split.classes.palette,
        IGNORE_LABEL,
        sample,
        {"Weights and data": sources, "Options": dataclasses.asdict(options)},
        REPORT_IMAGES,
        metrics=curves if curves.is_file() else None,
    )
    get_logger().info(f"report: {path}")


def protocol(options: EvalOptions) -> dict:
    """How the images were scored, for the record."""
    names = ("inference_mode", "scales", "flip", "merge", "base_size", "crop_size", "sliding_overlap", "amp")
    return {name: getattr(options, name) for name in (*names, "split_index", "split_count")}


if __name__ == "__main__":
    sys.exit(main())
