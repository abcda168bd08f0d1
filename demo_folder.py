"""Segment the images of a folder and draw the result; the snapshot is all it needs. `python demo_folder.py --help`."""

import sys
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

import datasets
import network
from config import DemoOptions, parse_demo, runtime_of
from datasets.base import ClassTable
from datasets.reading import IMAGE_SUFFIXES, read_image
from engine.checkpoint import check_classes, load_model
from engine.demo import find_images, run_demo
from engine.evaluation import predict_batch
from engine.inference import build_predictor
from engine.runtime import load_exported
from engine.training import AUTOCAST
from transforms import build_eval_transform
from utils.cli import run_main
from utils.distributed import choose_device
from utils.errors import DataError
from utils.files import make_folder
from utils.logging import setup_logging


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(run, argv)


def run(argv: Sequence[str]) -> None:
    """Parse, build, draw, summarise."""
    options, notes = parse_demo(argv)
    log = setup_logging(True)
    for note in notes:
        log.info(note)
    images = find_images(options.demo_folder, IMAGE_SUFFIXES)
    predict, classes = build(options)
    folder = make_folder(options.save_dir, "--save_dir")
    done, failures = run_demo(images, read_image, predict, classes.colorize, folder, options.opacity)
    for failure in failures:
        log.warning(f"skipped: {failure}")
    log.info(f"{done} of {len(images)} images done; pictures are in {folder}")
    if not done:
        raise DataError(f"{options.demo_folder}: none of its {len(images)} images could be read; see the lines above")


def build(options: DemoOptions) -> tuple[Callable[[np.ndarray], Tensor], ClassTable]:
    """A function RGB (H,W,3) uint8 -> train ids (H,W) int64, and the classes."""
    device = choose_device(options.device)
    classes = datasets.class_table(options.dataset) if options.dataset else None
    names = classes.names if classes else None
    if runtime_of(options) != "torch":
        exported = load_exported(options.snapshot, runtime_of(options))
        if classes is not None:
            check_classes(exported.header, names, options.snapshot)
        table = classes or ClassTable.from_description(exported.header["classes"])
        return lambda image: torch.from_numpy(exported(image)), table
    model, header, _ = load_model(options.snapshot, network.build_model, options.arch, names)
    if classes is None:
        classes = ClassTable.from_description(header["classes"])
    predictor = build_predictor(model.to(device, memory_format=torch.channels_last), base_size=options.base_size)
    transform = build_eval_transform(model.encoder.mean, model.encoder.std)

    def predict(image: np.ndarray) -> Tensor:
        sample = transform({"image": image}, np.random.default_rng(0))
        batch = {"image": sample["image"][None], "name": ["image"]}
        return predict_batch(predictor, batch, device, AUTOCAST[options.amp])[0].argmax(0).cpu()

    return predict, classes


if __name__ == "__main__":
    sys.exit(main())
