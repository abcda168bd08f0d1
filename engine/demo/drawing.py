"""How the demo draws a prediction."""

from dataclasses import dataclass

import numpy as np

from datasets.base import ClassTable
from engine.demo.legend import draw_legend, stack
from utils.drawing import overlay, side_by_side


@dataclass(frozen=True)
class Drawing:
    """Train ids (H,W) uint8 and their image, RGB (H,W,3) uint8 -> pictures.

    Attributes:
        classes: Names and colours.
        opacity: Of the colours over the image, 0 to 1.
        legend: Name the classes that occur under an overlay.
        side_by_side: Put the image to the left of an overlay.
    """

    classes: ClassTable
    opacity: float = 0.5
    legend: bool = False
    side_by_side: bool = False

    def overlay(self, image: np.ndarray, labels: np.ndarray, steady: bool = False) -> np.ndarray:
        """Colours over the image, (H,W,3) uint8; larger with a legend or side by side.

        Args:
            image: RGB (H,W,3).
            labels: Train ids (H,W).
            steady: Keep each class's place in the legend, so that all frames of a video have one size.
        """
        picture = overlay(image, self.classes.colorize(labels), self.opacity)
        if self.side_by_side:
            picture = side_by_side([image, picture])
        return stack(picture, self._legend(picture.shape[1], labels, steady)) if self.legend else picture

    def _legend(self, width: int, labels: np.ndarray, steady: bool) -> np.ndarray:
        counts = np.bincount(labels.ravel(), minlength=256)
        occurs = [bool(counts[i]) for i in range(len(self.classes.names))]
        kept = [i for i, present in enumerate(occurs) if present or steady]
        names, colors = [self.classes.names[i] for i in kept], [self.classes.palette[i] for i in kept]
        return draw_legend(width, names, colors, [occurs[i] for i in kept])
