"""Write predictions of an evaluation as pictures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from datasets.base import Split
from transforms import denormalize
from utils.constants import IGNORE_LABEL
from utils.drawing import error_map, overlay, save_png


class PredictionWriter:
    """Writes `pred/` (label ids), `color/`, `overlay/` and, where there are labels, `diff/`.

    A file is `NAME.png` after its sample, in subfolders where the name has some; names are unique in a split.

    Args:
        folder: Output folder.
        split: What is predicted; has `classes` and `has_labels`.
        mean: Of the images per channel; `std` alike.
        pictures: Write more than `pred/`.
    """

    def __init__(
        self, folder: Path, split: Split, mean: Sequence[float], std: Sequence[float], pictures: bool = True
    ) -> None:
        self.folder, self.split, self.mean, self.std, self.pictures = Path(folder), split, mean, std, pictures

    def write(self, batch: dict, predictions: Tensor) -> None:
        """Write the files of each sample of a batch with predicted train ids (N,H,W) uint8, on the CPU.

        Raises:
            EnvironmentFault: A file can't be written; those before it are complete.
        """
        for i, name in enumerate(batch["name"]):
            labels = predictions[i].numpy()
            pictures = [self.split.classes.to_label_ids(labels)]
            if self.pictures:
                image, colors = denormalize(batch["image"][i], self.mean, self.std), self.split.classes.colorize(labels)
                pictures += [colors, overlay(image, colors)]
            if self.pictures and self.split.has_labels:
                truth = batch["label"][i].numpy().astype(np.uint8)
                pictures.append(error_map(image, labels, truth, IGNORE_LABEL))
            for path, picture in zip(self.files(name), pictures, strict=True):
                save_png(path, picture)

    def files(self, name: str) -> list[Path]:
        """The files of a sample."""
        kinds = ["pred"] + ["color", "overlay"] * self.pictures + ["diff"] * (self.pictures and self.split.has_labels)
        return [self.folder / kind / f"{name}.png" for kind in kinds]
