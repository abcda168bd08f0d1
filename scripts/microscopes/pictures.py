"""Pictures of the page: an image with the labels that a switch changes, and the learned filters."""

from collections.abc import Mapping

import cv2
import numpy as np

from engine.report.pictures import jpeg, png
from network.parts.enhancement import FeatureFilter
from scripts.microscopes.counting import OUTCOMES, outcomes
from scripts.microscopes.looking import Microscope
from scripts.microscopes.responses import frequency_response, weights_of
from utils.constants import IGNORE_LABEL
from utils.drawing import error_map

OUTCOME_COLORS = {"lost": (60, 140, 255), "gained": (255, 150, 30), "other": (215, 215, 215)}
SHOWN, ROW = 16, 8  # filters of a module, in rows of so many
CELL, GAP = 8, 8  # pixels of a weight, and between filters
WHITE, LAST = 127, 254  # places in the palette of weights: 0, and the largest; 0 to 126 are negative


def draw_image(microscope: Microscope, place: int) -> dict:
    """Name and panels (title -> data URI) of one of the microscope's images, predicted once more.

    The panels are the image, its truth, the labels as trained, their errors, and a difference map of each variant.
    """
    index, dataset = microscope.indices[place], microscope.dataset
    item, split = dataset[index], dataset.split
    image, truth, palette = split.load_image(index), split.load_label(index), split.classes.palette
    predictions = microscope.predict({"image": item["image"][None], "name": [item["name"]]})
    trained = predictions[0][0]
    panels = {"input": jpeg(image), "truth": png(truth, palette), "as trained": png(trained, palette)}
    panels["errors as trained"] = jpeg(error_map(image, trained, truth, IGNORE_LABEL))
    labelled = max(1, np.count_nonzero(truth != IGNORE_LABEL))
    for variant, switched in zip(microscope.predict.variants[1:], predictions[1:], strict=True):
        masks = outcomes(truth, trained, switched[0])
        changed = sum(map(np.count_nonzero, masks)) / labelled
        panels[f"{variant.title}: {changed:.1%} change"] = jpeg(draw_outcomes(image, truth, masks))
    return {"name": item["name"], "panels": panels}


def draw_outcomes(image: np.ndarray, truth: np.ndarray, masks: list[np.ndarray]) -> np.ndarray:
    """The image (H,W,3) in dim grey, each of `OUTCOMES` in its colour, ignored pixels black."""
    picture = error_map(image, truth, truth, IGNORE_LABEL)  # nothing is wrong: grey and black only
    for name, mask in zip(OUTCOMES, masks, strict=True):
        picture[mask] = OUTCOME_COLORS[name]
    return picture


def draw_filters(layer: FeatureFilter) -> Mapping[str, str]:
    """Title -> data URI: a module's filters, from the one that has changed least to the most, and their mean gain."""
    smoothing = weights_of(layer)
    side = smoothing.shape[-1]
    weights = smoothing * side**2  # the mean filter's are 1
    order = np.argsort(((weights - 1) ** 2).mean(axis=(1, 2)), kind="stable")
    shown = order[np.linspace(0, len(order) - 1, min(SHOWN, len(order))).round().astype(int)]
    largest = float(np.abs(weights[shown]).max())
    response = np.abs(frequency_response(smoothing)).mean(axis=0)
    gain = np.fft.fftshift(response / response.max())
    title = f"{len(shown)} of {len(order)} filters, from least to most changed; full red: {largest:.1f} x 1/{side}²"
    return {
        title: png(_tile(weights[shown] / largest), _palette()),
        "mean gain of D across and down; 0 in the middle, a period of 2 pixels at the edges": png(
            _enlarge((WHITE + gain * (LAST - WHITE)).round(), 3), _palette()
        ),
    }


def _tile(weights: np.ndarray) -> np.ndarray:
    """(n,k,k) in [-1, 1] -> places in the palette, uint8, of a grid in rows of `ROW`."""
    places = (WHITE + weights * (LAST - WHITE)).round()
    side = places.shape[-1] * CELL + GAP
    rows = -(-len(places) // ROW)
    grid = np.full((rows * side, min(ROW, len(places)) * side), WHITE, np.uint8)
    for i, place in enumerate(places):
        y, x = (i // ROW) * side + GAP // 2, (i % ROW) * side + GAP // 2
        grid[y : y + side - GAP, x : x + side - GAP] = _enlarge(place, CELL)
    return grid


def _enlarge(picture: np.ndarray, factor: int) -> np.ndarray:
    return cv2.resize(picture.astype(np.uint8), None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST)


def _palette() -> list[tuple[int, int, int]]:
    """Blue over white to red."""
    ends = np.linspace(0, 1, WHITE + 1)[:, None]
    blue, red, white = (np.array(color) for color in ((33, 82, 160), (178, 30, 45), (250, 250, 250)))
    below, above = blue + ends * (white - blue), white + ends * (red - white)
    return [tuple(map(int, color)) for color in np.concatenate([below[:-1], above])]
