"""Draw what a model is trained on: a sheet of augmented samples, each beside its labels.

Usage: python scripts/show_samples.py [--out FILE.png] [--count N] [--epoch E] [any option of train.py]

The samples are those that train.py would draw first in that epoch with the same options. A cross marks the class
centroid of a crop that class-uniform sampling has centred on a class. Without --dataset: synthetic street scenes.
"""

import sys
from pathlib import Path

if __name__ == "__main__":  # from anywhere, without installation, and before PyTorch is loaded
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from utils.machine import limit_spinning

    limit_spinning()

import argparse
from collections.abc import Sequence
from dataclasses import replace
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import torch

from config import TrainConfig, parse_train
from datasets.base import Split
from datasets.dataset import TrainingDataset
from datasets.index import open_index
from datasets.loader import collate
from datasets.part import SubsetSplit
from datasets.sampling.class_uniform import CropSample
from engine.training.build import build_epochs, create_model, open_splits
from engine.training.samples import Batches, augmented_samples
from transforms import BatchTransform, build_train_transform, denormalize
from utils.cli import run_main
from utils.constants import IGNORE_LABEL
from utils.distributed import Process
from utils.drawing import overlay, save_png, side_by_side
from utils.errors import OptionError
from utils.logging import get_logger, setup_logging
from utils.options import Parser
from utils.sheet import Panel, draw_sheet

SYNTHETIC = ["--dataset", "synthetic", "--crop_size", "256", "--class_uniform_tile", "256"]
LARGEST = 300  # pixels, of a crop on the sheet
OPACITY, STRIPE, GRAY = 0.6, 4, (150, 150, 150)


def parse(argv: Sequence[str]) -> tuple[argparse.Namespace, TrainConfig]:
    """The sheet's options, and the run's. Raises `OptionError`."""
    parser = Parser(prog="show_samples.py", description=__doc__, epilog="All options of train.py are accepted as well.")
    parser.add_argument("--out", metavar="FILE", default="samples.png", help="the picture, a PNG")
    parser.add_argument("--count", metavar="N", type=int, default=12, help="samples")
    parser.add_argument("--columns", metavar="N", type=int, default=3, help="samples side by side")
    parser.add_argument("--epoch", metavar="E", type=int, default=0, help="epoch that they are of")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    own, rest = parser.parse_known_args(argv)
    for name, least in (("count", 1), ("columns", 1), ("epoch", 0)):
        if getattr(own, name) < least:
            raise OptionError(f"--{name} {getattr(own, name)}: must be at least {least}")
    config = parse_train(rest)
    named = {word.split("=")[0] for word in config.arguments}
    if "--dataset" not in named:
        config = parse_train([*SYNTHETIC, *config.arguments])
    own.keep = "--ckpt" in named
    return own, config


class CentroidSplit(SubsetSplit):
    """A split whose labels are 1 around a given point and 0 elsewhere: transformed, they show where it has gone."""

    def __init__(self, whole: Split, draw: CropSample) -> None:
        super().__init__(whole, range(len(whole)))
        self.centroid = draw.centroid

    def load_label(self, index: int) -> np.ndarray:
        """(H,W) uint8."""
        label = np.zeros_like(self.whole.load_label(index))
        return cv2.circle(label, self.centroid, max(4, min(label.shape) // 64), 1, cv2.FILLED)


def find_centroid(dataset: TrainingDataset, draw: CropSample, augment: BatchTransform | None) -> tuple[int, int] | None:
    """(x, y) of the draw's centroid in its augmented crop, within about a pixel; None without one.

    Args:
        dataset: What the draw is of.
        draw: Names image and centroid.
        augment: What the device does with a batch, with `--augment device`; crops aren't mixed.
    """
    if draw.centroid is None:
        return None
    marked = TrainingDataset(CentroidSplit(dataset.split, draw), dataset.transform, dataset.seed)
    batch = collate([marked[draw]])
    batch = batch if augment is None else augment(batch)
    rows, columns = np.nonzero(batch["label"][0].numpy() == 1)
    return (int(columns.mean()), int(rows.mean())) if len(rows) else None


def draw_sample(
    dataset: TrainingDataset, draw: CropSample, image: np.ndarray, label: np.ndarray, augment: BatchTransform | None
) -> Panel:
    """The panel of one sample, of its augmented image (H,W,3) and labels (H,W), both uint8."""
    scale = min(1.0, LARGEST / max(label.shape))
    colors = overlay(image, dataset.split.classes.colorize(label), OPACITY)
    hatch(colors, label == IGNORE_LABEL, round(STRIPE / scale))
    pair = [image, colors]
    size = (round(label.shape[1] * scale), round(label.shape[0] * scale))
    pair = [cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in pair]
    caption = dataset.split.names[draw.image]
    if draw.class_id is not None:
        caption = f"{dataset.split.classes.names[draw.class_id]}: {caption}"
        point = find_centroid(dataset, draw, augment)
        if point is not None:
            x, y = (int(value * scale) for value in point)
            for picture in pair:
                mark(picture, (x, y))
    return Panel(side_by_side(pair), caption)


def hatch(picture: np.ndarray, where: np.ndarray, stripe: int) -> None:
    """Grey diagonal stripes where a mask (H,W) says, in place: black would look like a dark image."""
    rows, columns = np.indices(where.shape)
    picture[where & ((rows + columns) // stripe % 2 == 0)] = GRAY


def mark(picture: np.ndarray, point: tuple[int, int]) -> None:
    """A white cross with a black edge, in place."""
    for color, thickness in (((0, 0, 0), 5), ((255, 255, 255), 2)):
        cv2.drawMarker(picture, point, color, cv2.MARKER_CROSS, 18, thickness)


def build_legend(split: Split, labels: list[np.ndarray]) -> list[tuple[str, tuple[int, int, int]]]:
    """Each class that is on the sheet, and what is ignored, with its share of the pixels."""
    counts = sum(np.bincount(label.ravel(), minlength=256) for label in labels)
    shares = counts / counts.sum()
    rows = [
        (f"{name} {shares[c]:.1%}", split.classes.palette[c])
        for c, name in enumerate(split.classes.names)
        if counts[c] > 0
    ]
    return [*rows, (f"ignored or padding (striped) {shares[IGNORE_LABEL]:.1%}", GRAY)]


def draw_samples(config: TrainConfig, epoch: int, count: int) -> tuple[Split, list[Panel], list[np.ndarray]]:
    """What train.py would draw of, a panel of each of an epoch's first samples, and their labels (H,W) uint8."""
    config = config.for_processes(1)
    config = replace(config, data=replace(config.data, cache="off"))  # not worth filling for a few samples
    split = open_splits(config).train
    index = open_index(split, Path(config.run.ckpt), progress=True)
    encoder = create_model(config, split.classes.num_classes).encoder
    process = Process(0, 1, torch.device("cpu"))
    epochs, augment = build_epochs(config, process, split, index, encoder)
    unmixed = replace(config.augment, cutmix=0.0, classmix=0.0)
    _, place = build_train_transform(unmixed, process.device, encoder.mean, encoder.std)
    panels, labels = [], []
    batches = Batches.of(config.augment, config.schedule, config.compute.seed)
    for draw, image, label in augmented_samples(epochs, augment, batches, epoch, count):
        shown = denormalize(image, encoder.mean, encoder.std)
        panels.append(draw_sample(epochs.dataset, draw, shown, label, place))
        labels.append(label)
    return split, panels, labels


def run(argv: Sequence[str]) -> None:
    """Parse, draw, write."""
    own, config = parse(argv)
    setup_logging(True)
    with TemporaryDirectory() as folder:  # centroids that are found are kept where the user names a place only
        if not own.keep:
            config = replace(config, run=replace(config.run, ckpt=folder))
        draw(own, config)


def draw(own: argparse.Namespace, config: TrainConfig) -> None:
    """Draw and write the sheet."""
    split, panels, labels = draw_samples(config, own.epoch, own.count)
    options = config.augment
    crop = ",".join(map(str, options.crop_size)) if isinstance(options.crop_size, tuple) else options.crop_size
    crops = f"--crop_size {crop} --scale_min {options.scale_min} --scale_max {options.scale_max}"
    shown = f"--max_crop_epoch {options.max_crop_epoch}" if options.trains_whole(own.epoch) else crops
    title = f"{split.dataset} {split.split}, epoch {own.epoch}: {shown}"
    title += f" --class_uniform_pct {config.data.class_uniform_pct}"
    save_png(own.out, draw_sheet(title, panels, own.columns, build_legend(split, labels)))
    get_logger().info(f"{own.out}: {len(panels)} samples; a cross marks a class centroid")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(run, argv)


if __name__ == "__main__":
    sys.exit(main())
