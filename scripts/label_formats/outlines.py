"""The forms of shapes -> pixels.

A point (x, y) lies on the picture: pixel (row, column) is the square from (column, row) to (column + 1, row + 1).
- Points that a person clicked are fractional: a pixel belongs to the polygon if its centre is inside.
- Where all points of a polygon are whole numbers, or all are halves, a program has traced pixels (OpenCV's
  `findContours`): they name pixels, and the outline belongs to the polygon, as OpenCV draws it.
"""

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from utils.optional import import_package

FARTHEST = 1e6  # pixels from the photo's corner
NEAR = 0.05  # pixels that rounding in a file may move a traced point by
Cover = tuple[int, int, np.ndarray]


class Outline(Protocol):
    """The form of a shape."""

    def cover(self, height: int, width: int) -> Cover:
        """Its pixels in a photo: top, left, and a bool array that starts there and stays inside the photo.

        Raises:
            ValueError: It can't be drawn there; says why.
        """


@dataclass(frozen=True)
class Polygons:
    """The union of polygons, (N,2) each. With `fractions`, points are parts of width and height."""

    parts: list[np.ndarray]
    fractions: bool = False

    def cover(self, height: int, width: int) -> Cover:
        """See `Outline`."""
        scale = (width, height) if self.fractions else (1, 1)
        parts = [part * scale for part in self.parts]
        top, left, bottom, right = box = _box(np.concatenate(parts), height, width)
        pixels = np.zeros((bottom - top, right - left), bool)
        for part in parts:
            pixels |= _fill(part, box)
        return top, left, pixels


@dataclass(frozen=True)
class Disc:
    """A circle."""

    center: np.ndarray
    radius: float

    def cover(self, height: int, width: int) -> Cover:
        """See `Outline`."""
        corners = np.stack([self.center - self.radius, self.center + self.radius])
        top, left, bottom, right = _box(corners, height, width)
        rows, columns = np.ogrid[top:bottom, left:right]
        x, y = self.center
        return top, left, (rows + 0.5 - y) ** 2 + (columns + 0.5 - x) ** 2 <= self.radius**2


@dataclass(frozen=True)
class Runs:
    """A run-length mask of COCO: `counts` is its text, or the list of its runs."""

    size: tuple[int, int]
    counts: str | list[int]

    def cover(self, height: int, width: int) -> Cover:
        """See `Outline`."""
        if self.size != (height, width):
            raise ValueError(f"its mask is {self.size[1]}x{self.size[0]}, the photo {width}x{height}; export again")
        codec = import_package("pycocotools.mask", "run-length masks", "pip install -r requirements-extras.txt")
        wrong = f"its runs don't make a mask of {width}x{height}; export again"
        try:
            if isinstance(self.counts, str):
                counts = self.counts.encode("ascii")
                pixels = codec.decode({"size": [height, width], "counts": counts})
                # where runs end too soon, pycocotools leaves memory as it was
                whole = codec.encode(np.asfortranarray(pixels))["counts"] == counts
            else:
                whole = all(type(run) is int for run in self.counts) and sum(self.counts) == height * width
                data = {"size": [height, width], "counts": self.counts}
                pixels = codec.decode(codec.frPyObjects(data, height, width)) if whole else None
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(wrong) from error
        if not whole:
            raise ValueError(wrong)
        return 0, 0, pixels.astype(bool)


@dataclass(frozen=True)
class Bitmap:
    """A mask (H,W) bool whose first pixel is at (left, top)."""

    left: int
    top: int
    pixels: np.ndarray

    def cover(self, height: int, width: int) -> Cover:
        """See `Outline`."""
        corners = np.array([[self.left, self.top], np.add((self.left, self.top), self.pixels.shape[::-1])])
        top, left, bottom, right = _box(corners, height, width)
        return top, left, self.pixels[top - self.top : bottom - self.top, left - self.left : right - self.left]


def _box(points: np.ndarray, height: int, width: int) -> tuple[int, int, int, int]:
    """Top, left, bottom, right of the pixels that points (N,2) span inside a photo.

    Raises:
        ValueError: That is nothing.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    if (low >= (width, height)).any() or (high < 0).any() or np.abs(points).max() > FARTHEST:
        said = f"x {low[0]:g} to {high[0]:g}, y {low[1]:g} to {high[1]:g}"
        raise ValueError(f"it lies outside the photo ({said}; the photo is {width}x{height}); mend or remove it")
    left, top = np.floor(np.maximum(low, 0)).astype(int)
    right, bottom = np.minimum(np.floor(high + NEAR).astype(int) + 1, (width, height))
    return min(top, bottom), min(left, right), bottom, right


def _fill(points: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """Pixels of one polygon inside a box of whole pixels: bool (H,W)."""
    top, left, bottom, right = box
    points = points - (left, top)
    pixels = np.zeros((bottom - top, right - left), np.uint8)
    for offset in (0, 0.5):
        if np.abs(points - offset - np.rint(points - offset)).max() <= NEAR:
            cv2.fillPoly(pixels, [np.rint(points - offset).astype(np.int32)], 1)
            return pixels.astype(bool)
    return _inside(points, *pixels.shape)


def _inside(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pixels whose centre is inside a polygon (even-odd): bool (H,W). Each edge flips what is right of it."""
    flips = np.zeros((height, width + 1), bool)
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        first, last = np.clip(np.ceil(np.sort([y0, y1]) - 0.5), 0, height).astype(int)
        if first < last:
            rows = np.arange(first, last)
            crossings = x0 + (rows + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
            flips[rows, np.clip(np.ceil(crossings - 0.5), 0, width).astype(int)] ^= True
    return np.logical_xor.accumulate(flips, axis=1)[:, :width]
