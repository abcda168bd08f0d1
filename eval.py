"""Score a snapshot on a split: alone, or on several processes under torchrun. `python eval.py --help`."""

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

import datasets
import network
from config import IGNORE_LABEL, EvalOptions, data_root, parse_eval, runtime_of
from datasets.base import Split
from datasets.dataset import EvaluationDataset
from datasets.loader import build_eval_loader
from datasets.sampler import evaluation_indices
from engine.checkpoint import check_classes, load_model
from engine.dump import PredictionWriter
from engine.evaluation import evaluate, predict_split
from engine.inference import build_predictor
from engine.runtime import load_exported
from engine.training import AUTOCAST
from transforms import build_eval_transform, denormalize
from utils import distributed
from utils.cli import run_main
from utils.distributed import Process
from utils.files import file_sha256, make_folder, write_json
from utils.logging import get_logger, setup_logging
from utils.metrics import scores

TEST_MODE_SAMPLES = 4


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(run, argv)


def run(argv: Sequence[str]) -> None:
    """Parse, build, evaluate, write."""
    options, notes = parse_eval(argv)
    process = distributed.start(options.device)
    try:
        folder = make_folder(Path(options.save_dir) / options.exp_name, "--save_dir")
        log = setup_logging(process.is_main)
        for note in notes:
            log.info(note)
        predictor, split, mean, std = build(options, process)
        writer = PredictionWriter(folder, split.classes, lambda x: denormalize(x, mean, std), IGNORE_LABEL)
        on_batch = writer if options.dump_images or not split.has_labels else None
        loader = build_loader(options, process, split, build_eval_transform(mean, std))
        if split.has_labels:
            score(options, process, split, predictor, loader, on_batch, folder)
        else:
            predict_split(predictor, loader, process.device, on_batch, AUTOCAST[options.amp], progress=process.is_main)
            log.info(f"split {split.split} has no labels, so there is no score; predictions are in {folder / 'pred'}")
    finally:
        distributed.stop()


def build(options: EvalOptions, process: Process) -> tuple[Callable[[Tensor], Tensor], Split, tuple, tuple]:
    """The predictor, the split, and the mean and std of the encoder's images."""
    split = build_split(options, options.dataset) if options.dataset else None
    names = split.classes.names if split else None
    if runtime_of(options) != "torch":
        exported = load_exported(options.snapshot, runtime_of(options))
        split = split or build_split(options, exported.header["classes"]["dataset"])
        check_classes(exported.header, split.classes.names, options.snapshot)
        return exported.predictor(), split, exported.header["mean"], exported.header["std"]
    model, header, report = load_model(options.snapshot, network.build_model, options.arch, names, options.partial)
    get_logger().info(str(report))
    if split is None:
        split = build_split(options, header["classes"]["dataset"])
        check_classes(header, split.classes.names, options.snapshot)
    model = model.to(process.device, memory_format=torch.channels_last)
    mean, std = model.encoder.mean, model.encoder.std
    predictor = build_predictor(
        model,
        options.inference_mode,
        options.crop_size,
        options.base_size,
        options.sliding_overlap,
        options.scales,
        options.flip,
        options.merge,
        pad_value=[-m / s for m, s in zip(mean, std, strict=True)],
        window_batch=options.window_batch,
    )
    return predictor, split, mean, std


def build_split(options: EvalOptions, dataset: str) -> Split:
    """The split that is evaluated."""
    return datasets.build_split(dataset, data_root(dataset, options.data_root), options.split, options.cv_split)


def build_loader(options: EvalOptions, process: Process, split: Split, transform: Callable) -> Iterable[dict]:
    """Loader of this rank's share of the part of the split that is asked for."""
    part = range(len(split))[options.split_index :: options.split_count]
    if options.test_mode:
        part = part[:TEST_MODE_SAMPLES]
    indices = [part[i] for i in evaluation_indices(len(part), process.rank, process.world_size)]
    return build_eval_loader(EvaluationDataset(split, transform), indices, options.batch_size, options.num_workers)


def score(
    options: EvalOptions,
    process: Process,
    split: Split,
    predictor: Callable[[Tensor], Tensor],
    loader: Iterable[dict],
    on_batch: Callable[[dict, Tensor], None] | None,
    folder: Path,
) -> None:
    """Evaluate, say the scores and write `metrics.json`."""
    evaluation = evaluate(
        predictor,
        loader,
        split.classes.num_classes,
        IGNORE_LABEL,
        process.device,
        amp=AUTOCAST[options.amp],
        on_batch=on_batch,
        progress=process.is_main,
    )
    result = scores(evaluation.confusion, split.classes.names)
    log = get_logger()
    for name, row in result["per_class"].items():
        log.info(f"{name:<20} {'  n/a' if row['iou'] is None else format(row['iou'], '.4f')}")
    shown = {key: result[key] for key in ("mean_iou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou")}
    log.info(" ".join(f"{key} {'n/a' if value is None else format(value, '.4f')}" for key, value in shown.items()))
    if process.is_main:
        result["num_images"] = evaluation.num_images
        result["snapshot_sha256"] = file_sha256(options.snapshot)
        result["confusion_matrix"] = evaluation.confusion.tolist()
        result |= {"dataset": split.dataset, "split": split.split, "protocol": protocol(options)}
        write_json(folder / "metrics.json", result)
        log.info(f"{evaluation.num_images} images; scores are in {folder / 'metrics.json'}")


def protocol(options: EvalOptions) -> dict:
    """How the images were scored, for the record."""
    names = ("inference_mode", "scales", "flip", "merge", "base_size", "crop_size", "sliding_overlap", "amp")
    return {name: getattr(options, name) for name in (*names, "split_index", "split_count")}


if __name__ == "__main__":
    sys.exit(main())
