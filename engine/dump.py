"""Write predictions of an evaluation as pictures."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import Tensor

from utils.drawing import error_map, overlay, save_png


class PredictionWriter:
    """Called with a batch and its predicted labels (N,H,W); writes `pred/` (label ids), `color/`, `overlay/`, `diff/`.

    Args:
        folder: Output folder.
        classes: Has `to_label_ids` and `colorize`.
        to_picture: Normalised image (3,H,W) -> RGB (H,W,3) uint8.
        ignore_label: Label that isn't scored.
        opacity: Of the colours in overlays, 0 to 1.
    """

    def __init__(
        self, folder: Path, classes, to_picture: Callable[[Tensor], np.ndarray], ignore_label: int, opacity: float = 0.5
    ) -> None:
        self.folder, self.classes, self.to_picture = Path(folder), classes, to_picture
        self.ignore_label, self.opacity = ignore_label, opacity

    def __call__(self, batch: dict, predictions: Tensor) -> None:
        """Write the files of each sample; `diff/` only where there are labels."""
        for i, name in enumerate(batch["name"]):
            image, labels = self.to_picture(batch["image"][i]), predictions[i].numpy().astype(np.uint8)
            colors = self.classes.colorize(labels)
            self._save("pred", name, self.classes.to_label_ids(labels))
            self._save("color", name, colors)
            self._save("overlay", name, overlay(image, colors, self.opacity))
            if "label" in batch:
                truth = batch["label"][i].numpy().astype(np.uint8)
                self._save("diff", name, error_map(image, labels, truth, self.ignore_label))

    def has(self, name: str, labelled: bool) -> bool:
        """Whether all files of a sample are there."""
        kinds = ("pred", "color", "overlay", "diff") if labelled else ("pred", "color", "overlay")
        return all((self.folder / kind / f"{name}.png").is_file() for kind in kinds)

    def _save(self, kind: str, name: str, picture: np.ndarray) -> None:
        save_png(self.folder / kind / f"{name}.png", picture)
