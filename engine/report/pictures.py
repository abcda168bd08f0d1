"""The best and worst images of an evaluation: input, truth, prediction and errors, embedded in the page."""

import base64
import io
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from PIL import Image

from engine.evaluation.per_image import ImageResult
from engine.inference.batch import BatchPredictor
from engine.inference.score_maps import predict_labels
from engine.report.html import Markup, element, join, percent
from engine.report.tables import swatch
from utils.drawing import WRONG, error_map
from utils.metrics.confusion import compute_metrics

LONG_SIDE = 960  # of an embedded picture, pixels
Sample = Callable[[int], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Index in the split -> RGB image (H,W,3) uint8, truth and prediction: train ids (H,W) uint8."""


def resampler(dataset, predict: BatchPredictor) -> Sample:
    """Loads and predicts images of `dataset` (an evaluation data set with its `split`) once more."""

    def sample(index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        item, split = dataset[index], dataset.split
        batch = {"image": item["image"][None], "name": [item["name"]]}
        prediction = predict_labels(predict(batch))[0].cpu().numpy()
        return split.load_image(index), split.load_label(index), prediction

    return sample


def image_section(
    images: Sequence[ImageResult], names: Sequence[str], palette: Sequence, sample: Sample, ignore_label: int, most: int
) -> Markup:
    """Legend, and up to `most` of the worst and of the best images by the mean IoU of their own confusion matrix."""
    scored = [(compute_metrics(image.confusion, names), image) for image in images if image.labelled]
    ranked = sorted(scored, key=lambda pair: (pair[0]["mean_iou"], pair[1].index))
    worst = ranked[: min(most, (len(ranked) + 1) // 2)]
    best = ranked[::-1][: min(most, len(ranked) // 2)]
    parts = [legend(names, palette)]
    for title, chosen in (("Worst", worst), ("Best", best)):
        if chosen:
            rows = [_row(result, image, sample(image.index), palette, ignore_label) for result, image in chosen]
            parts.append(element("h3", f"{title} by mean IoU"))
            parts.append(element("div", *rows, class_="images"))
    return join(parts)


def legend(names: Sequence[str], palette: Sequence) -> Markup:
    """The classes' colours, and those that are no class."""
    entries = [*zip(names, palette, strict=True), ("ignored", (0, 0, 0)), ("wrong (errors)", WRONG)]
    return element("ul", *(element("li", swatch(color), name) for name, color in entries), class_="legend")


def _row(result: dict, image: ImageResult, maps: tuple, palette: Sequence, ignore_label: int) -> Markup:
    picture, truth, prediction = maps
    panels = {
        "input": jpeg(picture),
        "truth": png(truth, palette),
        "prediction": png(prediction, palette),
        "errors": jpeg(error_map(picture, prediction, truth, ignore_label)),
    }
    buttons = []
    for kind, data in panels.items():
        text = f"{kind} of {image.name}"
        shown = element("img", src=data, alt=text, loading="lazy"), element("span", kind)
        buttons.append(element("button", *shown, type="button", class_="panel", aria_label=f"enlarge {text}"))
    score = f"mean IoU {percent(result['mean_iou'], 1)} %, pixel accuracy {percent(result['pixel_accuracy'], 1)} %"
    caption = element("figcaption", element("b", image.name), " ", element("span", score))
    return element("figure", caption, element("div", *buttons, class_="panels"), class_="image")


def jpeg(picture: np.ndarray) -> str:
    """An RGB picture (H,W,3) uint8 as a data URI, made smaller to `LONG_SIDE`."""
    height, width = _fit(picture)
    small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return _uri(Image.fromarray(small), "jpeg", quality=85)


def png(labels: np.ndarray, palette: Sequence) -> str:
    """Train ids (H,W) uint8 in their colours as a data URI, made smaller without mixing classes; others are black."""
    height, width = _fit(labels)
    picture = Image.fromarray(cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST))
    picture.putpalette([value for color in palette for value in color] + [0] * (768 - 3 * len(palette)))
    return _uri(picture, "png", optimize=True)


def _fit(picture: np.ndarray) -> tuple[int, int]:
    height, width = picture.shape[:2]
    factor = min(1.0, LONG_SIDE / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def _uri(picture: Image.Image, kind: str, **options: object) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
