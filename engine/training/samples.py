"""`--dump_augmentation_images`: what a model is trained on, as pictures."""

from pathlib import Path

import numpy as np
from torch import nn

from datasets.epochs import TrainingEpochs
from datasets.loader import collate
from transforms import BatchTransform, denormalize
from utils.drawing import save_png, side_by_side
from utils.logging import get_logger


def save_samples(
    epochs: TrainingEpochs, augment: BatchTransform | None, encoder: nn.Module, folder: Path, count: int = 32
) -> None:
    """Write the first augmented samples of a run, image beside label."""
    dataset = epochs.dataset
    for sample in epochs.plan(0)[:count]:
        batch = collate([dataset[sample]])
        batch = batch if augment is None else augment(batch)
        colors = dataset.split.classes.colorize(batch["label"][0].cpu().numpy().astype(np.uint8))
        image = denormalize(batch["image"][0], encoder.mean, encoder.std)
        save_png(folder / f"{sample.index:04d}.png", side_by_side([image, colors]))
    get_logger().info(f"augmented samples are in {folder}")
