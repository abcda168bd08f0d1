"""A snapshot -> files of other runtimes, kept only if their labels are the snapshot's."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import nn

import datasets
from datasets.base import ClassTable, Split
from engine.checkpoint.digests import weights_sha256
from engine.checkpoint.loading import load_model
from engine.export.budget import Budget
from engine.export.formats import AXES, check_packages
from engine.export.options import FILES, ExportOptions
from engine.export.outputs import MAX_ERROR, MIN_AGREEMENT, check_outputs, compare_outputs, original_outputs
from engine.export.parity import Parity, check, compare
from engine.export.program import check_opens
from engine.export.runtimes import Program, write_runtimes
from engine.export.samples import Pair, batches, calibration_images, check_sides, compared_images, pairs
from engine.export.web import check_fits, load_web_runtime, write_web
from engine.inference.build import LoadedModel, wrap_model
from engine.inference.exported import ExportedModel
from engine.inference.options import PredictOptions
from network.fusing import fuse_for_inference
from utils.constants import IGNORE_LABEL
from utils.errors import DataError
from utils.files import file_sha256, output_folder, sync_folder, write_json
from utils.logging import Progress, get_logger


def export_model(options: ExportOptions) -> tuple[list[Path], Parity]:
    """Write the files of `options.format` and a JSON file that describes them, if their labels are the model's.

    Returns:
        The files, and how alike the labels are.

    Raises:
        OptionError: The model can't be exported.
        EnvironmentFault: A package is missing.
        DataError: No images to compare on, or no labels on them for `--int8_budget`.
        CheckpointError: The weights don't load, or the labels differ too much; then no file is kept.
    """
    check_packages(options.format)
    web = load_web_runtime(options.onnxruntime_web) if options.format.startswith("web") else None
    say = get_logger().info
    table = datasets.class_table(options.dataset) if options.dataset else None
    model, snapshot, _ = load_model(options.snapshot, options.arch, table.names if table else None)
    if options.size is None:
        check_opens(model)
    if web:
        check_fits(sum(weight.numel() for weight in fuse_for_inference(model).parameters()), options.precision, web)
    classes = snapshot["classes"] if snapshot else table.to_dict(options.dataset)
    samples = compared_images(options, classes)
    if options.size is None:
        check_sides(samples)
    budget = _budget(options, samples)
    temperature = snapshot.get("temperature", 1.0)  # of its logits; labels don't depend on it
    metadata = model_metadata(model, classes, options.size, options.outputs) | {"temperature": temperature}
    if "trained_on" in snapshot:
        metadata["trained_on"] = snapshot["trained_on"]
    metadata |= {"snapshot_sha256": file_sha256(options.snapshot), "precision": options.precision}
    photos = calibration_images(options, classes) if options.precision == "int8" else None
    asked = PredictOptions(options.snapshot, merge="logit", amp="off")
    original = wrap_model(model, asked, torch.device("cpu"), ClassTable.from_dict(classes), snapshot)
    with (
        output_folder(options.out, "--out") as folder,
        tempfile.TemporaryDirectory(prefix=".export.", dir=folder) as stage,
    ):
        say(f"tracing {model.config['arch']}: half a minute to a few")
        calibration = (image for image, _ in _shown(photos, options.size, "calibrate")) if photos else ()
        files = write_runtimes(model, metadata, [options.format], Path(stage), calibration, budget)
        exported = files[options.format]
        if web:
            write_web(exported.path, Path(stage) / FILES[options.format][0], metadata, web)
        parity, outputs = _compare(original, exported, samples, options)
        about = {**exported.header, "parity": parity.to_dict() | {"batches": outputs}}
        return publish(options.format, Path(stage), folder, about), parity


def _budget(options: ExportOptions, samples: Split) -> Budget | None:
    if options.int8_budget is None:
        return None
    indices = range(len(samples)) if samples.has_labels else ()
    if not any((samples.load_label(index) != IGNORE_LABEL).any() for index in indices):
        raise DataError(f"--int8_budget: --split {options.split} has no labels to score on; name another split")
    return Budget(options.int8_budget, partial(pairs, samples, options.size), samples.classes.names)


def _compare(
    original: LoadedModel, exported: ExportedModel | Program, samples: Split, options: ExportOptions
) -> tuple[Parity, list[dict]]:
    """How alike all outputs are, on all samples and on batches. Raises `CheckpointError` where not enough."""
    least, most = options.limits
    compared = _shown(samples, options.size, "compare")
    parity = compare(original.label_image, exported, compared, samples.classes.names, IGNORE_LABEL)
    check(parity, least, most)
    sizes = batches(samples, options.size)
    outputs = compare_outputs(partial(original_outputs, original), exported.outputs, sizes)
    check_outputs(outputs, min(MIN_AGREEMENT[options.precision], least), MAX_ERROR[options.precision])
    return parity, outputs


def _shown(split: Split, size: Sequence[int] | None, title: str) -> Iterator[Pair]:
    yield from Progress(pairs(split, size), title, True, total=len(split))  # the bar opens with the first image


def model_metadata(
    model: nn.Module, classes: dict, size: Sequence[int] | None, outputs: Sequence[str] = ("labels",)
) -> dict:
    """What stands in a file, so that it can be run without anything else.

    Args:
        model: Has `config`, and an `encoder` with `mean` and `std`.
        classes: `ClassTable.to_dict`'s.
        size: (H,W) of the images, one at a time; None: any, and any number.
        outputs: What the file gives, `labels` first.
    """
    batch, height, width = AXES if size is None else (1, *size)
    return {
        "input": f"RGB image, uint8, ({batch},{height},{width},3)",
        "output": f"train ids, uint8, ({batch},{height},{width})",
        "outputs": list(outputs),
        "size": None if size is None else list(size),
        "config": model.config,
        "classes": classes,
        "mean": list(model.encoder.mean),
        "std": list(model.encoder.std),
        "weights_sha256": weights_sha256(model.state_dict()),
        "precision": "float32",
    }


def publish(format: str, stage: Path, folder: Path, about: dict) -> list[Path]:
    """Move the files to their final names, the one that is named with --snapshot last, and describe them."""
    names = FILES[format]
    digests = {name: file_sha256(stage / name) for name in names}
    for name in reversed(names):
        os.replace(stage / name, folder / name)
    sync_folder(folder)
    write_json(folder / f"{names[0]}.json", {**about, "sha256": digests})
    return [folder / name for name in names]
