"""What a model is trained on, as pictures: `--dump_augmentation_images`, and scripts/show_samples.py."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from datasets.epochs import TrainingEpochs
from datasets.loader import collate
from datasets.sampling.class_uniform import CropSample
from engine.training.options import ScheduleOptions
from engine.training.step import seed_step
from transforms import AugmentOptions, BatchTransform, denormalize
from utils.drawing import save_png, side_by_side
from utils.logging import get_logger


@dataclass(frozen=True)
class Batches:
    """How crops are mixed with others.

    Attributes:
        size: Crops of a batch, of which each is mixed with the one before it.
        seed: Of the run.
        accumulate: Batches of a step; those after its first one are mixed in another way than in training, where
            dropout has drawn numbers before them.
    """

    size: int
    seed: int
    accumulate: int = 1

    @classmethod
    def of(cls, augment: AugmentOptions, schedule: ScheduleOptions, seed: int) -> "Batches":
        """Those of a run; where it mixes nothing a batch is one crop, since whole images may have several sizes."""
        return cls(schedule.bs_mult if augment.cutmix or augment.classmix else 1, seed, schedule.accumulate)


def augmented_samples(
    epochs: TrainingEpochs, augment: BatchTransform | None, batches: Batches, epoch: int, count: int
) -> Iterator[tuple[CropSample, Tensor, np.ndarray]]:
    """The first samples of an epoch as a single process trains on them: draw, image (3,H,W), labels (H,W) uint8."""
    draws, size = epochs.plan(epoch), batches.size
    for start in range(0, min(count, len(draws)), size):
        part = draws[start : start + size]
        batch = collate([epochs.dataset[draw] for draw in part])
        if augment is not None:
            number = epoch * (epochs.batches // batches.accumulate * batches.accumulate) + start // size
            if number % batches.accumulate == 0:
                seed_step(batches.seed, number // batches.accumulate, 0)
            batch = augment(batch)
        labels = batch["label"].cpu().numpy().astype(np.uint8)
        yield from zip(part[: count - start], batch["image"], labels, strict=False)


def save_samples(
    epochs: TrainingEpochs,
    augment: BatchTransform | None,
    batches: Batches,
    encoder: nn.Module,
    folder: Path,
    count: int = 32,
) -> None:
    """Write the first augmented samples of a run, image beside label."""
    for sample, image, label in augmented_samples(epochs, augment, batches, 0, count):
        colors = epochs.dataset.split.classes.colorize(label)
        image = denormalize(image, encoder.mean, encoder.std)
        save_png(folder / f"{sample.index:04d}.png", side_by_side([image, colors]))
    get_logger().info(f"augmented samples are in {folder}")
