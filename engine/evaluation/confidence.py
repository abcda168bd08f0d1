"""eval.py's --confidence: maps of how sure the model is, and what is counted of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from engine.inference.batch import BatchPredictor
from engine.inference.certainty import Votes, label_confidence
from transforms import denormalize
from utils.constants import IGNORE_LABEL
from utils.drawing import SMOOTH, confidence_levels, save_png, uncertainty_overlay
from utils.metrics.calibration import certainty_counts

CONFIDENCE, AGREEMENT = "confidence", "agreement"


@dataclass(frozen=True)
class ConfidenceMaps:
    """Writes `confidence/` (16 bits, 65535 is certain) and `uncertainty/` (overlays), each `NAME.png` after its sample.

    Attributes:
        folder: Output folder.
        mean: Of the images per channel; `std` alike.
        passes: How often each pixel is predicted.
    """

    folder: Path
    mean: Sequence[float]
    std: Sequence[float]
    passes: int = 1

    def maps(self, scores: Tensor, labels: Tensor, predict: BatchPredictor, votes: Votes | None) -> dict[str, Tensor]:
        """Calibrated scores (N,C,H,W) and their labels (N,H,W) -> by name (N,H,W) float32 in [0, 1], on the CPU."""
        found = {CONFIDENCE: label_confidence(scores, predict.merge)}
        if votes is not None:
            found[AGREEMENT] = votes.agreement(labels)
        return {name: values.cpu() for name, values in found.items()}

    def write(self, batch: dict, maps: Mapping[str, Tensor]) -> None:
        """Write the files of each sample of a batch. Raises `EnvironmentFault` if one can't be written."""
        for image, name, values in zip(batch["image"], batch["name"], maps[CONFIDENCE].numpy(), strict=True):
            pictures = confidence_levels(values), uncertainty_overlay(denormalize(image, self.mean, self.std), values)
            for path, picture in zip(self.files(name), pictures, strict=True):
                save_png(path, picture, SMOOTH)

    def files(self, name: str) -> list[Path]:
        """The files of a sample."""
        return [self.folder / kind / f"{name}.png" for kind in (CONFIDENCE, "uncertainty")]


def measure_certainty(maps: Mapping[str, Tensor], prediction: Tensor, label: Tensor) -> dict[str, np.ndarray]:
    """Counts of one image's maps (H,W) by name, void pixels left out: `confidence_bins`, `confidence_sums`, ..."""
    valid = (label != IGNORE_LABEL).numpy()
    right = (prediction == label).numpy()[valid]
    counts = {name: certainty_counts(values.numpy()[valid], right) for name, values in maps.items()}
    return {f"{name}_{key}": value for name, rows in counts.items() for key, value in rows.items()}
