"""The best and worst images of an evaluation: input, truth, prediction and errors, embedded in the page."""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from datasets.dataset import EvaluationDataset
from engine.evaluation.per_image import ImageResult
from engine.inference.batch import BatchPredictor
from utils.constants import IGNORE_LABEL
from utils.drawing import error_map
from utils.metrics.confusion import compute_metrics

LONG_SIDE = 960  # of an embedded picture, pixels
Palette = Sequence[Sequence[int]]
"""RGB colour, 0 to 255, by class."""
Sampler = Callable[[int], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Index in the split -> RGB image (H,W,3) uint8, truth and prediction: train ids (H,W) uint8."""


@dataclass(frozen=True)
class ImageSampler:
    """A `Sampler` that loads and predicts images of a data set once more."""

    dataset: EvaluationDataset
    predict: BatchPredictor

    def __call__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        item, split = self.dataset[index], self.dataset.split
        batch = {"image": item["image"][None], "name": [item["name"]]}
        prediction = self.predict.labels(self.predict(batch))[0].cpu().numpy()
        return split.load_image(index), split.load_label(index), prediction


def worst_and_best(
    images: Sequence[ImageResult], colors: Mapping[str, Sequence[int]], sampler: Sampler, most: int
) -> dict[str, list]:
    """What `images.html` shows of up to `most` of the worst and of the best images, by their own mean IoU.

    `colors`: class -> RGB, 0 to 255.
    """
    names, palette = list(colors), list(colors.values())
    scored = [(compute_metrics(image.confusion, names), image) for image in images if image.labelled]
    ranked = sorted(scored, key=lambda pair: (pair[0]["mean_iou"], pair[1].index))
    worst, best = ranked[: min(most, (len(ranked) + 1) // 2)], ranked[::-1][: min(most, len(ranked) // 2)]
    return {
        title: [
            {"name": image.name, "scores": scores, "panels": _panels(*sampler(image.index), palette)}
            for scores, image in chosen
        ]
        for title, chosen in (("Worst", worst), ("Best", best))
    }


def jpeg(picture: np.ndarray) -> str:
    """An RGB picture (H,W,3) uint8 as a data URI, made smaller to `LONG_SIDE`."""
    return _uri(Image.fromarray(_shrink(picture, cv2.INTER_AREA)), "jpeg", quality=85)


def png(labels: np.ndarray, palette: Palette) -> str:
    """Train ids (H,W) uint8 in their colours as a data URI, made smaller without mixing classes; others are black."""
    picture = Image.fromarray(_shrink(labels, cv2.INTER_NEAREST))
    picture.putpalette([value for color in palette for value in color] + [0] * (768 - 3 * len(palette)))
    return _uri(picture, "png", optimize=True)


def _panels(picture: np.ndarray, truth: np.ndarray, prediction: np.ndarray, palette: Palette) -> dict[str, str]:
    return {
        "input": jpeg(picture),
        "truth": png(truth, palette),
        "prediction": png(prediction, palette),
        "errors": jpeg(error_map(picture, prediction, truth, IGNORE_LABEL)),
    }


def _shrink(picture: np.ndarray, interpolation: int) -> np.ndarray:
    height, width = picture.shape[:2]
    factor = min(1.0, LONG_SIDE / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return cv2.resize(picture, size, interpolation=interpolation)


def _uri(picture: Image.Image, kind: str, **options: object) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
