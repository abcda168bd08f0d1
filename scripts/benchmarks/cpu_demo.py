"""`benchmark.py cpu-demo`: an image in memory -> its labels, on two threads of a CPU.

Arms: `plain` (eager float32 PyTorch, NCHW, nothing fused), `torch` (norms and filters fused, channels_last), `onnx`,
`openvino` and `openvino_int8` (what scripts/export.py writes), and, on a processor with instructions for it,
`torch_bf16`, `openvino_bf16` and `openvino_bf16_int8` (bf16 where the file isn't int8). Each takes RGB (H,W,3) uint8
and gives train ids (H,W) uint8, normalisation and upsampling included; decoding an image file isn't. `ratio` is that of
the best float32 arm.

With --snapshot (fenet_tiny: the repository's small weights) images of its data set are taken: int8 is calibrated on
`train`, and arms are compared on `val`. `agreement` is the share of labels that are plain's, `mean_iou` the score
(images and labels scaled to --size). Without it the weights are fresh and the images drawn; then neither says anything
about accuracy and both are null. The gate is on labels in both cases: `max_error` is what the worst float32 arm's
agreement lacks to 1. So that it can fail with fresh weights too, the last layer is scaled until all classes win
somewhere.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

import datasets
import network
from datasets.base import Split
from datasets.options import find_root
from datasets.synthetic.split import SyntheticSplit
from engine.checkpoint.loading import check_classes, load_model
from engine.export.options import MIN_AGREEMENT
from engine.export.parity import Parity, compare
from engine.export.samples import evenly, pairs
from engine.inference.small_weights import SMALL_ARCH, SMALL_WEIGHTS
from scripts.benchmarks.cpu_demo_arms import FORMATS, Trial, build_trial, even_classes, precision_of, replay
from scripts.benchmarks.shares import Roofline, Work
from scripts.benchmarks.timing import processor
from utils.constants import IGNORE_LABEL
from utils.errors import NumericsError

THREADS = 2
NUM_IMAGES = 32  # of a data set, at most
NUM_DRAWN = 2
LEAST = {"bf16": 0.99, "int8": MIN_AGREEMENT["int8"]}  # shares of labels that are plain's, on trained weights
FRESH = "not compared: the weights are fresh; name trained ones with --snapshot"


def measure_cpu_demo(
    options: argparse.Namespace, time_arms: Callable[[Trial], dict], formats: Sequence[str] = FORMATS
) -> dict:
    """Export the model to `formats`, check the arms, time them."""
    torch.set_num_threads(THREADS)
    size = tuple(options.size)
    model, (train, val) = load(options)
    calibration, samples = (evenly(split, NUM_IMAGES) for split in (train, val))
    image = next(pairs(samples, size))[0]
    trained = options.snapshot is not None
    if not trained:
        even_classes(model, image)
    with tempfile.TemporaryDirectory() as folder:
        photos = [photo for photo, _ in pairs(calibration, size)]
        trial = build_trial(model, val, image, photos, Path(folder), formats, bf16=processor()[1] > 1)
        arms = trial.arms
        expected = [arms["plain"](photo) for photo, _ in pairs(samples, size)]
        names = list(val.classes.names)
        parities = {
            name: compare(replay(expected), arms[name], pairs(samples, size), names, IGNORE_LABEL)
            for name in arms
            if name != "plain"
        }
        check(options, parities)
        rows = time_arms(trial)
    for name, parity in parities.items():
        rows[name]["agreement"] = parity.agreement if trained else None
        rows[name]["mean_iou"] = parity.exported_mean_iou if trained else None
        rows["plain"]["mean_iou"] = parity.mean_iou if trained else None
    works = dict.fromkeys(rows, Work(arms["plain"].operations()))
    float32 = [name for name in parities if precision_of(name) == "float32"]
    return {
        "ratio": max(rows[name]["ratio"] for name in float32),
        "max_error": max(1 - parities[name].agreement for name in float32),
        "arms": rows,
        "roofline": Roofline().add_shares(rows, works, {name: precision_of(name) for name in rows}),
        "sizes": {"size": list(size), "batch": 1, "arch": model.config["arch"], "images_compared": len(samples)},
        "weights": "snapshot" if trained else "fresh",
        "accuracy": "on images of the snapshot's data set" if trained else FRESH,
        "data": val.dataset,
    }


def load(options: argparse.Namespace) -> tuple[nn.Module, tuple[Split, Split]]:
    """The model, and the splits for calibration and for comparison."""
    if options.snapshot is None and options.arch == SMALL_ARCH:
        options.snapshot = str(SMALL_WEIGHTS)
    if options.snapshot is None:
        splits = tuple(SyntheticSplit(name, 0, NUM_DRAWN, *options.size) for name in ("train", "val"))
        return network.build_model(options.arch, splits[0].classes.num_classes, aux=False).eval(), splits
    model, header, _ = load_model(options.snapshot)
    dataset = header["classes"]["dataset"]
    root = find_root(dataset, options.data_root)
    splits = tuple(datasets.build_split(dataset, root, name) for name in ("train", "val"))
    check_classes(header, splits[0].classes.names, options.snapshot)
    return model, splits


def check(options: argparse.Namespace, parities: dict[str, Parity]) -> None:
    """Raises `NumericsError` if an arm's labels are not plain's; of fresh weights only float32 is looked at."""
    for name, parity in parities.items():
        precision = precision_of(name)
        if precision != "float32" and options.snapshot is None:
            continue
        least = LEAST.get(precision, 1 - (1e-3 if options.tolerance is None else options.tolerance))
        if parity.agreement < least:
            raise NumericsError(
                f"{options.what}: {name} gives other labels than plain: {parity}; at least {least} is asked"
            )
