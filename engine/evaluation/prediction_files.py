"""Write predictions of an evaluation as pictures."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import Tensor

from utils.drawing import error_map, overlay, save_png


class PredictionWriter:
    """Called with a batch and its predicted labels (N,H,W); writes `pred/` (label ids), `color/`, `overlay/`, `diff/`.

    A file is `NAME.png` after its sample, in subfolders where the name has some; names are unique in a split.

    Args:
        folder: Output folder.
        classes: Has `to_label_ids` and `colorize`.
        to_picture: Normalised image (3,H,W) -> RGB (H,W,3) uint8.
        ignore_label: Label that isn't scored.
        opacity: Of the colours in overlays, 0 to 1.
        pictures: Write more than `pred/`.
    """

    def __init__(
        self,
        folder: Path,
        classes,
        to_picture: Callable[[Tensor], np.ndarray],
        ignore_label: int,
        opacity: float = 0.5,
        pictures: bool = True,
    ) -> None:
        self.folder, self.classes, self.to_picture = Path(folder), classes, to_picture
        self.ignore_label, self.opacity, self.pictures = ignore_label, opacity, pictures

    def __call__(self, batch: dict, predictions: Tensor) -> None:
        """Write the files of each sample.

        Raises:
            EnvironmentFault: A file can't be written; those before it are complete.
        """
        for i, name in enumerate(batch["name"]):
            labels = predictions[i].numpy().astype(np.uint8)
            self._save("pred", name, self.classes.to_label_ids(labels))
            if self.pictures:
                truth = batch["label"][i].numpy().astype(np.uint8) if "label" in batch else None
                self._draw(name, self.to_picture(batch["image"][i]), labels, truth)

    def _draw(self, name: str, image: np.ndarray, labels: np.ndarray, truth: np.ndarray | None) -> None:
        colors = self.classes.colorize(labels)
        self._save("color", name, colors)
        self._save("overlay", name, overlay(image, colors, self.opacity))
        if truth is not None:
            self._save("diff", name, error_map(image, labels, truth, self.ignore_label))

    def files(self, name: str, labelled: bool) -> list[Path]:
        """The files of a sample."""
        kinds = ["pred"] + ["color", "overlay"] * self.pictures + ["diff"] * (self.pictures and labelled)
        return [self.folder / kind / f"{name}.png" for kind in kinds]

    def _save(self, kind: str, name: str, picture: np.ndarray) -> None:
        save_png(self.folder / kind / f"{name}.png", picture)
