"""`benchmark.py cpu-demo`: an image in memory -> its labels, on two threads of a CPU.

Arms: `plain` (eager float32 PyTorch, NCHW, nothing fused), `torch` (norms and filters fused, channels_last), `onnx`,
`openvino` and `openvino_int8` (what scripts/export.py writes). Each takes RGB (H,W,3) uint8 and gives train ids (H,W)
uint8, normalisation and upsampling included; decoding an image file isn't. `ratio` is that of the best float32 arm.

The gate: `agreement` is the share of labels that are plain's; `max_error` is what the worst float32 arm's lacks to 1.
Without --snapshot the weights are fresh (of fenet_tiny the repository's small ones) and the images drawn: times are
right, but the int8 arm's labels mean nothing and aren't gated. With it, images of the snapshot's data set are taken:
int8 is calibrated on `train`, and arms are compared and scored (`mean_iou`, images and labels scaled to --size) on
`val`.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

import datasets
import network
from datasets.base import Split
from datasets.options import find_root
from datasets.synthetic.split import SyntheticSplit
from engine.checkpoint.loading import check_classes, load_model
from engine.export.build import model_metadata, write_runtimes
from engine.export.options import MIN_AGREEMENT
from engine.export.parity import Label, Parity, compare
from engine.export.samples import evenly, pairs
from engine.inference.small_weights import SMALL_ARCH, SMALL_WEIGHTS
from network.fusing import ImageToLabels, fuse_for_inference
from reference.network import make_plain
from utils.constants import IGNORE_LABEL
from utils.errors import NumericsError
from utils.resizing import resize

THREADS = 2
NUM_IMAGES = 32  # of a data set, at most
NUM_DRAWN = 2


def measure_cpu_demo(options: argparse.Namespace, time_arms: Callable[[dict], dict]) -> dict:
    """Export the model, check the arms, time them."""
    torch.set_num_threads(THREADS)
    size = tuple(options.size)
    model, (train, val) = load(options)
    calibration, samples = (evenly(split, NUM_IMAGES) for split in (train, val))
    with tempfile.TemporaryDirectory() as folder:
        arms = build_arms(model, val, size, [image for image, _ in pairs(calibration, size)], Path(folder))
        expected = [arms["plain"](image) for image, _ in pairs(samples, size)]
        names = list(val.classes.names)
        parities = {
            name: compare(replay(expected), arms[name], pairs(samples, size), names, IGNORE_LABEL)
            for name in arms
            if name != "plain"
        }
        check(options, parities)
        image = next(pairs(samples, size))[0]
        rows = time_arms({name: lambda arm=arm: arm(image) for name, arm in arms.items()})
    for name, parity in parities.items():
        rows[name]["agreement"] = parity.agreement
        if options.snapshot:
            rows[name]["mean_iou"], rows["plain"]["mean_iou"] = parity.exported_mean_iou, parity.mean_iou
    float32 = parities.keys() - {"openvino_int8"}
    return {
        "ratio": max(rows[name]["ratio"] for name in float32),
        "max_error": max(1 - parities[name].agreement for name in float32),
        "arms": rows,
        "sizes": {"size": list(size), "batch": 1, "arch": model.config["arch"], "images_compared": len(samples)},
        "weights": "snapshot" if options.snapshot else "fresh",
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


def build_arms(
    model: nn.Module, split: Split, size: tuple[int, int], calibration: list[np.ndarray], folder: Path
) -> dict[str, Label]:
    """Functions RGB (H,W,3) uint8 -> train ids (H,W) uint8, by name of the arm."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (model.encoder.mean, model.encoder.std))
    metadata = model_metadata(model, split.classes.to_dict(split.dataset), size)
    files = write_runtimes(model, metadata, ("onnx", "openvino", "openvino-int8"), folder, calibration)
    reference = make_plain(model)
    fused = ImageToLabels(fuse_for_inference(model)).eval().to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def plain(image: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(image).permute(2, 0, 1).contiguous()
        logits = reference(((x / 255 - mean) / std)[None])["logits"]
        return resize(logits, size).argmax(1)[0].to(torch.uint8).numpy()

    @torch.inference_mode()
    def ours(image: np.ndarray) -> np.ndarray:
        return fused(torch.from_numpy(image)[None])[0].numpy()

    return {"plain": plain, "torch": ours, **{name.replace("-", "_"): label for name, label in files.items()}}


def replay(labels: list[np.ndarray]) -> Label:
    """A model that gives these labels one after the other."""
    left = iter(labels)
    return lambda image: next(left)


def check(options: argparse.Namespace, parities: dict[str, Parity]) -> None:
    """Raises `NumericsError` if an arm's labels are not plain's."""
    for name, parity in parities.items():
        int8 = name == "openvino_int8"
        if int8 and options.snapshot is None:
            continue
        least = MIN_AGREEMENT["int8"] if int8 else 1 - (options.tolerance or 1e-3)
        if parity.agreement < least:
            raise NumericsError(f"cpu-demo: {name} gives other labels than plain: {parity}; at least {least} is asked")
