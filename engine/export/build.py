"""A snapshot -> files of other runtimes, kept only if their labels are the snapshot's."""

import os
import tempfile
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

import datasets
from datasets.base import ClassTable
from engine.checkpoint.digests import weights_sha256
from engine.checkpoint.loading import load_model
from engine.export.formats import quantise, write_onnx, write_openvino, write_torch_export
from engine.export.options import FILES, ExportOptions, precision_of
from engine.export.parity import Label, Parity, check, compare
from engine.export.program import export_program
from engine.export.samples import calibration_images, compared_images, pairs
from engine.inference.build import wrap_model
from engine.inference.exported import load_exported
from engine.inference.options import PredictOptions
from network.fusing import ImageToLabels, fuse_for_inference, names_of_filters
from utils.constants import IGNORE_LABEL
from utils.files import file_sha256, make_folder, sync_folder, write_json

TRACED_SIZE = (192, 256)  # where the size is left open


def export_model(options: ExportOptions) -> tuple[list[Path], Parity]:
    """Write the files of `options.format` and a JSON file that describes them, if their labels are the model's.

    Returns:
        The files, and how alike the labels are.

    Raises:
        OptionError: The model can't be exported.
        DataError: No images to compare on.
        CheckpointError: The weights don't load, or the labels differ too much; then no file is kept.
    """
    table = datasets.class_table(options.dataset) if options.dataset else None
    model, snapshot, _ = load_model(options.snapshot, options.arch, table.names if table else None)
    classes = snapshot["classes"] if snapshot else table.to_dict(options.dataset)
    samples = compared_images(options, classes)
    size = None if options.dynamic else options.size or samples.load_image(0).shape[:2]
    metadata = model_metadata(model, classes, size) | {"snapshot_sha256": file_sha256(options.snapshot)}
    metadata["temperature"] = snapshot.get("temperature", 1.0)  # of its logits; labels don't depend on it
    photos = calibration_images(options, classes) if options.precision == "int8" else None
    asked = PredictOptions(options.snapshot, merge="logit", amp="off")
    original = wrap_model(model, asked, torch.device("cpu"), ClassTable.from_dict(classes), snapshot)
    folder = make_folder(options.out, "--out")
    with tempfile.TemporaryDirectory(prefix=".export.", dir=folder) as stage:
        calibration = (image for image, _ in pairs(photos, size)) if photos else ()
        (exported,) = write_runtimes(model, metadata, [options.format], Path(stage), calibration).values()
        parity = compare(original.label_image, exported, pairs(samples, size), classes["names"], IGNORE_LABEL)
        check(parity, *options.limits)
        about = {**metadata, "precision": options.precision, "parity": parity.to_dict()}
        return publish(options.format, Path(stage), folder, about), parity


def model_metadata(model: nn.Module, classes: dict, size: Sequence[int] | None) -> dict:
    """What stands in a file, so that it can be run without anything else.

    Args:
        model: Has `config`, and an `encoder` with `mean` and `std`.
        classes: `ClassTable.to_dict`'s.
        size: (H,W) of the images; None: any.
    """
    height, width = ("height", "width") if size is None else size
    return {
        "input": f"RGB image, uint8, (1,{height},{width},3)",
        "output": f"train ids, uint8, (1,{height},{width})",
        "size": None if size is None else list(size),
        "config": model.config,
        "classes": classes,
        "mean": list(model.encoder.mean),
        "std": list(model.encoder.std),
        "weights_sha256": weights_sha256(model.state_dict()),
    }


def write_runtimes(
    model: nn.Module, metadata: dict, formats: Sequence[str], folder: Path, calibration: Iterable[np.ndarray] = ()
) -> dict[str, Label]:
    """Trace a model once, write the files of `formats` (keys of `FILES`) into `folder`, and load them again.

    Args:
        model: In evaluation mode, on the CPU.
        metadata: What `model_metadata` gave, or more.
        formats: Which ones; what lies in `folder` besides their files is left over from making them.
        folder: Is there.
        calibration: For int8: RGB images (H,W,3) uint8 of the model's size.

    Returns:
        By format: RGB (H,W,3) uint8 -> train ids (H,W) uint8.

    Raises:
        OptionError: The model can't be traced.
        EnvironmentFault: A package is missing.
    """
    size, labels, onnx = metadata["size"], {}, folder / "model.onnx"
    program = export_program(ImageToLabels(fuse_for_inference(model)).eval(), size or TRACED_SIZE, size is None)
    if set(formats) != {"torch-export"}:
        write_onnx(program, onnx, {**metadata, "precision": "float32"})
    for format in formats:
        file, header = folder / FILES[format][0], {**metadata, "precision": precision_of(format)}
        if format == "torch-export":
            write_torch_export(program, file, header)
            labels[format] = partial(_run_program, torch.export.load(file).module())
        elif format == "onnx":
            labels[format] = load_exported(file, "onnx")
        else:
            source = onnx
            if format == "openvino-int8":
                source = folder / "int8.onnx"
                quantise(onnx, source, calibration, names_of_filters(model))
            write_openvino(source, file, header)
            labels[format] = load_exported(file, "openvino")
    return labels


def _run_program(program: nn.Module, image: np.ndarray) -> np.ndarray:
    return program(torch.from_numpy(image[None]))[0].numpy()


def publish(format: str, stage: Path, folder: Path, about: dict) -> list[Path]:
    """Move the files to their final names, the one that is named with --snapshot last, and describe them."""
    names = FILES[format]
    digests = {name: file_sha256(stage / name) for name in names}
    for name in reversed(names):
        os.replace(stage / name, folder / name)
    sync_folder(folder)
    write_json(folder / f"{names[0]}.json", {**about, "sha256": digests})
    return [folder / name for name in names]
