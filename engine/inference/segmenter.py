"""Images -> labels, probabilities and pictures in three lines of Python; `hubconf.py` offers it to `torch.hub`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from datasets import class_table
from datasets.base import ClassTable
from datasets.reading import read_image, to_rgb
from engine.inference.build import LoadedModel, load
from engine.inference.options import PredictOptions
from engine.inference.score_maps import predict_labels
from engine.inference.small_weights import SMALL_WEIGHTS, describe_small_weights
from utils.devices import choose_device
from utils.drawing import overlay, save_png
from utils.errors import DataError, OptionError
from utils.logging import get_logger

ImageLike = str | Path | Image.Image | np.ndarray


@dataclass(frozen=True)
class Segmentation:
    """What a model sees in one image.

    Attributes:
        image: RGB (H,W,3) uint8.
        labels: Train ids (H,W) uint8, the positions in `names`.
        classes: Names, colours and label ids.
        scores: Probabilities (C,H,W) float32 on the CPU; None where they weren't asked for, or a file gives none.
    """

    image: np.ndarray
    labels: np.ndarray
    classes: ClassTable
    scores: Tensor | None = None

    @property
    def names(self) -> list[str]:
        """Class names by train id."""
        return list(self.classes.names)

    @property
    def probabilities(self) -> np.ndarray:
        """Of each class (C,H,W) float32; they add up to 1. Raises `OptionError` where there are none."""
        if self.scores is None:
            raise OptionError(
                "labels only: this result has no probabilities; call the segmenter without labels_only=True, with a"
                " snapshot rather than an exported file"
            )
        return self.scores.numpy()

    @property
    def confidence(self) -> np.ndarray:
        """Probability of each pixel's label (H,W) float32. Raises `OptionError` where there is none."""
        return self.probabilities.max(0)

    def overlay(self, opacity: float = 0.5) -> np.ndarray:
        """Class colours over the image, RGB (H,W,3) uint8; `opacity` of the colours, 0 to 1."""
        return overlay(self.image, self.classes.colorize(self.labels), opacity)

    def save(self, path: str | Path) -> None:
        """Write the overlay as PNG. Raises `EnvironmentFault` if it can't be written."""
        save_png(path, self.overlay())


class Segmenter:
    """Segments images with the predictor, precision and fusing of eval.py's defaults.

    Args:
        snapshot: A snapshot, safetensors, or a file of scripts/export.py; None: the repository's small weights, which
            know drawn street scenes only.
        device: `auto`, `cpu`, `cuda` or `cuda:N`; exported files run on the CPU.
        options: Further ones of `PredictOptions`, such as `scales=(0.5, 1.0)`, `flip=True` or `amp="bf16"`; for bare
            weights `arch` and `dataset`.

    Raises:
        OptionError: An option that doesn't exist or doesn't fit.
        CheckpointError: The snapshot is missing, damaged, or doesn't name its classes.
        EnvironmentFault: There is no such device, or a package is missing.
    """

    def __init__(self, snapshot: str | Path | None = None, device: str = "auto", **options: object) -> None:
        if options.get("merge", "prob") != "prob":
            raise OptionError(f"merge={options['merge']!r}: a segmenter gives probabilities; leave it out")
        if snapshot is None:
            get_logger().warning(describe_small_weights())
        try:
            chosen = PredictOptions(snapshot=str(snapshot or SMALL_WEIGHTS), device=str(device), **options)
        except TypeError as error:
            raise OptionError(f"{error}; options are those of eval.py's predictions, such as scales, flip") from error
        classes = class_table(chosen.dataset) if chosen.dataset else None
        self.model: LoadedModel = load(chosen, choose_device(chosen.device), classes)

    @property
    def names(self) -> list[str]:
        """Class names by train id."""
        return list(self.model.classes.names)

    def __call__(
        self, images: ImageLike | Sequence[ImageLike], labels_only: bool = False
    ) -> Segmentation | list[Segmentation]:
        """Segment an image, or each of a list.

        Args:
            images: Path, PIL image, RGB array (H,W,3) uint8, or a list of them.
            labels_only: Keep no probabilities: they are 4 bytes a pixel and class.

        Raises:
            DataError: An image can't be read, is too large, or isn't an RGB array of bytes.
        """
        if isinstance(images, list | tuple):
            return [self._segment(image, labels_only) for image in images]
        return self._segment(images, labels_only)

    def _segment(self, source: ImageLike, labels_only: bool) -> Segmentation:
        image, name = as_rgb(source), str(source) if isinstance(source, str | Path) else "image"
        if labels_only or self.model.exported is not None:
            return Segmentation(image, self.model.label_image(image, name), self.model.classes)
        scores = self.model.score_image(image, name)
        labels = predict_labels(scores)[0].cpu().numpy()
        scores = self.model.predict.calibrate_(scores)[0].float()
        if self.model.predict.temperature != 1:
            scores = scores / scores.sum(dim=0)
        return Segmentation(image, labels, self.model.classes, scores.cpu())


def as_rgb(source: ImageLike) -> np.ndarray:
    """Path (its EXIF rotation applied), PIL image or array -> RGB (H,W,3) uint8.

    Raises:
        DataError: It can't be read, or isn't an image.
    """
    if isinstance(source, str | Path):
        return read_image(Path(source))
    if isinstance(source, Image.Image):
        return to_rgb(source)
    if isinstance(source, np.ndarray):
        if source.dtype == np.uint8 and source.ndim == 3 and source.shape[2] == 3 and source.size:
            return source
        raise DataError(f"array {source.shape} {source.dtype}: give RGB as uint8 of shape (height, width, 3)")
    if isinstance(source, torch.Tensor):
        raise DataError("a tensor: give RGB as a NumPy array, uint8 (height, width, 3), not yet normalised")
    raise DataError(f"{type(source).__name__}: give a path, a PIL image, an RGB array, or a list of these")
