"""The formats of export.py that run without this project: image in, labels out, compared with the model they are of."""

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch

import datasets
import network
from datasets.base import ClassTable, Split
from datasets.reading import IMAGE_SUFFIXES, read_image
from engine.checkpoint.digests import weights_sha256
from engine.checkpoint.loading import check_classes, load_model
from engine.export.formats import quantise, write_onnx, write_openvino, write_torch_export
from engine.export.parity import Label, Parity, check, compare
from engine.export.program import export_program
from engine.inference.exported import load_exported
from engine.inference.predictor import build_predictor
from network.fusing import ImageToLabels, fuse_for_inference, names_of_filters
from transforms import build_eval_transform
from utils.constants import IGNORE_LABEL
from utils.errors import DataError, OptionError
from utils.files import file_sha256, make_folder, sync_folder, write_json

FILES = {
    "onnx": ("model.onnx",),
    "torch-export": ("model.pt2",),
    "openvino": ("model.xml", "model.bin"),
    "openvino-int8": ("model_int8.xml", "model_int8.bin"),
}
MIN_AGREEMENT = {"float32": 0.999, "int8": 0.95}
MAX_LOSS = {"float32": 0.001, "int8": 0.01}
TRACED_SIZE = (192, 256)  # where the size is left open
Sample = Callable[[], tuple[np.ndarray, np.ndarray | None]]


def export_runtime(options: argparse.Namespace) -> None:
    """Write the files of `options.format` and a JSON file that describes them, if their labels are the model's.

    Raises:
        OptionError: Options that don't go together, or a model that can't be exported.
        CheckpointError: The labels differ too much; then no file is kept.
    """
    check_options(options)
    classes = datasets.class_table(options.dataset) if options.dataset else None
    names = classes.names if classes else None
    model, header, _ = load_model(options.snapshot, network.build_model, options.arch, names)
    table = ClassTable.from_dict(header["classes"]) if header else classes
    samples = find_samples(options, header, table)
    size = None if options.dynamic else options.size or samples[0]()[0].shape[:2]
    description = describe(options, model, header["classes"] if header else table.to_dict(options.dataset), size)
    folder = make_folder(options.out, "--out")
    with tempfile.TemporaryDirectory(prefix=".export.", dir=folder) as stage:
        exported = write_files(options, model, description, Path(stage))
        parity = compare(original_of(model), exported, resized(samples, size), list(table.names), IGNORE_LABEL)
        precision = description["precision"]
        check(
            parity,
            MIN_AGREEMENT[precision] if options.min_agreement is None else options.min_agreement,
            MAX_LOSS[precision] if options.max_loss is None else options.max_loss,
        )
        publish(options.format, Path(stage), folder, description, parity)
    print(f"{parity}\nwritten: {', '.join(str(folder / name) for name in FILES[options.format])}")


def check_options(options: argparse.Namespace) -> None:
    """Raises `OptionError` for what can't be done, before anything is."""
    if options.format == "openvino-int8" and not options.calibration:
        raise OptionError("--format openvino-int8: needs --calibration FOLDER, images like those that it will see")
    if not options.calibration and not options.data_root:
        raise OptionError("name --calibration FOLDER or --data_root DIR: the file is compared with the model on images")
    if options.dynamic and options.size:
        raise OptionError("--dynamic and --size exclude each other: any size, or one")
    if options.size and (len(options.size) != 2 or min(options.size) < 1):
        raise OptionError(f"--size {options.size}: give height,width in pixels")
    if options.num_images < 1:
        raise OptionError(f"--num_images {options.num_images}: must be at least 1")


def find_samples(options: argparse.Namespace, header: dict, table: ClassTable) -> list[Sample]:
    """Evenly spaced samples of the split below `--data_root`, or else images of the `--calibration` folder."""
    if not options.data_root:
        return calibration_images(options)
    split = datasets.build_split(options.dataset or header["classes"]["dataset"], options.data_root, options.split)
    check_classes({"classes": {"names": table.names}}, split.classes.names, options.snapshot)
    return split_samples(split, options.num_images)


def split_samples(split: Split, count: int) -> list[Sample]:
    """At most `count` samples of a split, evenly spaced."""

    def sample(index: int) -> tuple[np.ndarray, np.ndarray | None]:
        return split.load_image(index), split.load_label(index) if split.has_labels else None

    return [partial(sample, index) for index in spread(range(len(split)), count)]


def calibration_images(options: argparse.Namespace) -> list[Sample]:
    """Evenly spaced images of the `--calibration` folder. Raises `DataError` if it holds none."""
    folder = Path(options.calibration)
    paths = [path for path in folder.glob("*") if path.suffix.lower() in IMAGE_SUFFIXES]
    if not paths:
        raise DataError(f"{folder}: no such folder, or no images in it; check --calibration")
    return [partial(unlabelled, path) for path in spread(sorted(paths), options.num_images)]


def unlabelled(path: Path) -> tuple[np.ndarray, None]:
    """An image without a label."""
    return read_image(path), None


def spread(items: list | range, count: int) -> list:
    """At most `count` of the items, evenly spaced."""
    return [items[i] for i in np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)]


def resized(samples: list[Sample], size: tuple[int, int] | None) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Samples one after the other, scaled to (H,W) where the size is fixed."""
    for sample in samples:
        image, label = sample()
        if size is not None and image.shape[:2] != tuple(size):
            image = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
            label = None if label is None else cv2.resize(label, size[::-1], interpolation=cv2.INTER_NEAREST)
        yield image, label


def describe(options: argparse.Namespace, model: torch.nn.Module, classes: dict, size: tuple | None) -> dict:
    """What stands in the file, so that it can be run without anything else."""
    if len(classes["names"]) > 256:
        raise OptionError(f"--snapshot {options.snapshot}: labels of more than 256 classes don't fit uint8")
    height, width = ("height", "width") if size is None else size
    return {
        "input": f"RGB image, uint8, (1,{height},{width},3)",
        "output": f"train ids, uint8, (1,{height},{width})",
        "size": None if size is None else list(size),
        "precision": "int8" if options.format.endswith("int8") else "float32",
        "config": model.config,
        "classes": classes,
        "mean": list(model.encoder.mean),
        "std": list(model.encoder.std),
        "weights_sha256": weights_sha256(model.state_dict()),
        "snapshot_sha256": file_sha256(options.snapshot),
    }


def write_files(options: argparse.Namespace, model: torch.nn.Module, description: dict, stage: Path) -> Label:
    """Write the files of the format into `stage`; returns the first one, ready to run."""
    size = description["size"]
    file = stage / FILES[options.format][0]
    program = export_program(ImageToLabels(fuse_for_inference(model)).eval(), size or TRACED_SIZE, size is None)
    if options.format == "torch-export":
        write_torch_export(program, file, description)
        run = torch.export.load(file).module()
        return lambda image: run(torch.from_numpy(image[None]))[0].numpy()
    onnx = stage / "model.onnx"
    write_onnx(program, onnx, description)
    if options.format == "onnx":
        return load_exported(file, "onnx")
    if options.format == "openvino-int8":
        images = (image for image, _ in resized(calibration_images(options), size))
        quantise(onnx, stage / "int8.onnx", images, names_of_filters(model))
        onnx = stage / "int8.onnx"
    write_openvino(onnx, file, description)
    return load_exported(file, "openvino")


def original_of(model: torch.nn.Module) -> Label:
    """RGB (H,W,3) uint8 -> train ids (H,W) uint8, as eval.py and demo_folder.py compute them from the snapshot."""
    predictor = build_predictor(model, merge="logit")
    transform = build_eval_transform(model.encoder.mean, model.encoder.std)

    def label(image: np.ndarray) -> np.ndarray:
        sample = transform({"image": image}, np.random.default_rng(0))
        return predictor(sample["image"][None])[0].argmax(0).to(torch.uint8).numpy()

    return label


def publish(format: str, stage: Path, folder: Path, description: dict, parity: Parity) -> None:
    """Move the files to their final names, the one that is named with --snapshot last, and describe them."""
    names = FILES[format]
    files = {name: file_sha256(stage / name) for name in names}
    for name in reversed(names):
        os.replace(stage / name, folder / name)
    sync_folder(folder)
    write_json(folder / f"{names[0]}.json", {**description, "parity": parity.describe(), "sha256": files})
