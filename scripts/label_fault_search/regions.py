"""Regions of an image where its label and a confident prediction disagree."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

EDGE = 1 / 120  # of the short side: this close to where they agree again, label and prediction may differ anyway
TINY = 1 / 255  # probability; smaller ones say no more than that they are tiny
OUTLINE = 2.0  # pixels that an outline may be off
MOST = 20  # regions of an image that are kept
Box = tuple[int, int, int, int]  # x, y, width, height in pixels


@dataclass(frozen=True)
class Region:
    """Connected pixels of one label that are predicted as one other class.

    Attributes:
        box: Around it.
        label: Train id of the label; `predicted` that of the prediction.
        core: Pixels that are not at the region's edge, as a fraction of the image.
        margin: Mean of ln p(predicted) - ln p(label) over the core.
        probability: Mean of p(predicted) over the core.
        of_label: The region's share of the connected pixels of its label; `of_object` of the predicted class.
        outline: Polygon (n,2) of pixels around it.
    """

    box: Box
    label: int
    predicted: int
    core: float
    margin: float
    probability: float
    of_label: float
    of_object: float
    outline: tuple[tuple[int, int], ...]

    @property
    def strength(self) -> float:
        """What the region alone says, without the other images."""
        return self.margin**2 * self.core**0.5


def find_regions(probability: np.ndarray, label: np.ndarray) -> list[Region]:
    """Regions of an image, the strongest first.

    Args:
        probability: (C,H,W) float32.
        label: Train ids (H,W) uint8; what isn't below C is ignored.
    """
    classes = len(probability)
    predicted = probability.argmax(0)
    wrong = (label < classes) & (label != predicted)
    code = np.where(wrong, label.astype(np.int32) * classes + predicted + 1, 0).astype(np.uint16)
    edge = max(1, round(EDGE * min(label.shape)))
    around = np.ones((2 * edge + 1, 2 * edge + 1), np.uint8)
    core = wrong & (cv2.erode(code, around) == code) & (cv2.dilate(code, around) == code)
    pieces = _Pieces(predicted, label)
    found = [
        region
        for pair in np.unique(code[core])
        for region in _regions_of_pair(probability, label, code == pair, core, pieces)
    ]
    return sorted(found, key=lambda region: -region.strength)[:MOST]


class _Pieces:
    """Connected pixels of a class in a prediction and in a label, looked up once."""

    def __init__(self, predicted: np.ndarray, label: np.ndarray) -> None:
        self.maps = {"predicted": predicted, "label": label}
        self.known: dict[tuple[str, int], tuple[np.ndarray, np.ndarray]] = {}

    def area(self, kind: str, train_id: int, y: int, x: int) -> int:
        """Pixels of the piece of that class that pixel (y, x) is in."""
        if (kind, train_id) not in self.known:
            mask = (self.maps[kind] == train_id).astype(np.uint8)
            _, places, rows, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
            self.known[kind, train_id] = places, rows[:, cv2.CC_STAT_AREA]
        places, areas = self.known[kind, train_id]
        return int(areas[places[y, x]])


def _regions_of_pair(
    probability: np.ndarray, label: np.ndarray, mask: np.ndarray, core: np.ndarray, pieces: _Pieces
) -> Iterator[Region]:
    """The connected regions of `mask`, where one label is predicted as one other class."""
    x0, y0, width, height = cv2.boundingRect(mask.astype(np.uint8))
    window = (slice(y0, y0 + height), slice(x0, x0 + width))
    mask, core = mask[window], core[window] & mask[window]
    count, places, rows, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    for number in np.unique(places[core]):
        inside = (places == number) & core
        y, x = (int(values[0]) for values in np.nonzero(inside))
        true, seen = int(label[y0 + y, x0 + x]), int(pieces.maps["predicted"][y0 + y, x0 + x])
        own, other = (probability[i][window][inside] for i in (true, seen))
        left, top, w, h, area = (int(value) for value in rows[number])
        yield Region(
            box=(x0 + left, y0 + top, w, h),
            label=true,
            predicted=seen,
            core=int(inside.sum()) / label.size,
            margin=float(np.log((other + TINY) / (own + TINY)).mean()),
            probability=float(other.mean()),
            of_label=area / pieces.area("label", true, y0 + y, x0 + x),
            of_object=area / pieces.area("predicted", seen, y0 + y, x0 + x),
            outline=_outline(places == number, x0, y0),
        )


def _outline(mask: np.ndarray, x0: int, y0: int) -> tuple[tuple[int, int], ...]:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    largest = max(contours, key=cv2.contourArea)
    corners = cv2.approxPolyDP(largest, OUTLINE, closed=True).reshape(-1, 2)
    return tuple((int(x) + x0, int(y) + y0) for x, y in corners)
