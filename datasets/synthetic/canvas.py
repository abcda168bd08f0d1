"""The camera, canvas and local frames with which the synthetic street scenes are drawn.

World axes in metres: x to the right, y up from the ground, z away from the camera. Every number is rounded to 1/16
pixel before OpenCV's integer rasteriser sees it, so that machines agree.
"""

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from datasets.cityscapes import CLASSES

LABEL_ID = dict(zip(CLASSES.names, CLASSES.label_ids, strict=True))
UNLABELED, EGO = 0, 1  # label ids of the ignored pixels
THINGS = range(24, 34)  # label ids whose instances are told apart
_SHIFT = 4  # fractional bits of the rasteriser
_NEAR = 0.4  # metres; points closer than that are moved away to it

Color = tuple[float, float, float]  # RGB, 0 to 255


@dataclass(frozen=True)
class Camera:
    """A pinhole above the ground.

    Args:
        height: Image height in pixels.
        width: Image width in pixels.
        focal: Focal length in pixels.
        horizon: Image row of the horizon.
        eye: Height above the ground in metres.
        drift: Image column of the vanishing point.
    """

    height: int
    width: int
    focal: float
    horizon: float
    eye: float
    drift: float

    def project(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """World points, arrays that broadcast to (...) -> pixels (...,2) float64, column first."""
        scale = self.focal / np.maximum(z, _NEAR)
        column, row = self.drift + x * scale, self.horizon + (self.eye - y) * scale
        pixels = np.empty((*np.broadcast(column, row).shape, 2))
        pixels[..., 0], pixels[..., 1] = column, row
        return pixels


class Canvas:
    """An image and its map of instance ids, painted from far to near.

    Args:
        camera: Projects what is drawn.
        haze: Colour that far things fade to.
        visibility: Distance in metres at which half of a colour is haze.

    Attributes:
        image: (H,W,3) uint8 RGB.
        ids: (H,W) uint16, the rule of Cityscapes: label id, or label id * 1000 + k for the k-th thing.
    """

    def __init__(self, camera: Camera, haze: Color, visibility: float) -> None:
        self.camera, self.haze, self.visibility = camera, haze, visibility
        self.image = np.zeros((camera.height, camera.width, 3), np.uint8)
        self.ids = np.zeros((camera.height, camera.width), np.uint16)
        self._counts: Counter[str] = Counter()

    def new_id(self, name: str) -> int:
        """Instance id for one more object of the class `name`."""
        if LABEL_ID[name] not in THINGS:
            return LABEL_ID[name]
        self._counts[name] += 1
        return LABEL_ID[name] * 1000 + self._counts[name] - 1

    def fill(self, polygons: np.ndarray, color: Color | None, ident: int | None, z: float = 0.0) -> None:
        """Fill polygons (n,2) or (k,n,2) in pixels at distance z; no colour: ids only; no ident: image only."""
        shapes = list(_fixed(polygons))
        if color is not None:
            cv2.fillPoly(self.image, shapes, self.fade(color, z), cv2.LINE_AA, _SHIFT)
        if ident is not None:
            cv2.fillPoly(self.ids, shapes, ident, cv2.LINE_8, _SHIFT)

    def stroke(self, lines: np.ndarray, color: Color, ident: int | None, width: float, z: float = 0.0) -> None:
        """Open polylines (n,2) or (k,n,2) in pixels, `width` pixels wide but at least 1."""
        shapes, thick = list(_fixed(lines)), max(1, int(width + 0.5))
        cv2.polylines(self.image, shapes, False, self.fade(color, z), thick, cv2.LINE_AA, _SHIFT)
        if ident is not None:
            cv2.polylines(self.ids, shapes, False, ident, thick, cv2.LINE_8, _SHIFT)

    def shade(self, polygon: np.ndarray, factor: float) -> None:
        """Multiply the image inside the polygon (n,2) by `factor`, 0..1."""
        self.blend(polygon, (0, 0, 0), 1 - factor)

    def blend(self, polygon: np.ndarray, color: Color, share: float) -> None:
        """Mix `share` of the colour, 0..1, into the image inside the polygon (n,2)."""
        size = (self.camera.width, self.camera.height)
        left, top = (int(v) for v in np.clip(np.floor(polygon.min(0)), 0, size))
        right, bottom = (int(v) for v in np.clip(np.ceil(polygon.max(0)) + 1, 0, size))
        if right <= left or bottom <= top:
            return
        mask = np.zeros((bottom - top, right - left, 1), np.uint8)
        cv2.fillPoly(mask, list(_fixed(polygon - (left, top))), int(255 * share), cv2.LINE_AA, _SHIFT)
        region, mask = self.image[top:bottom, left:right], mask.astype(np.uint16)
        mixture = region * (255 - mask)
        if any(color):
            mixture += mask * np.array(color).astype(np.uint16)
        region[:] = mixture // 255

    def fade(self, color: Color, z: float) -> tuple[int, int, int]:
        """The colour as seen through the haze, in 0..255."""
        share = z / (z + self.visibility)
        return tuple(
            int(min(255.0, max(0.0, c * (1 - share) + h * share))) for c, h in zip(color, self.haze, strict=True)
        )


class Frame:
    """Local axes of something that stands on the ground: a along `heading`, b to its left, y up, metres.

    Args:
        canvas: What is drawn on.
        ident: Instance id of everything that is drawn.
        x, z: World position of the origin.
        heading: Unit vector (x, z) of the a axis.
        light: Factor on every colour.
    """

    def __init__(
        self,
        canvas: Canvas,
        ident: int,
        x: float,
        z: float,
        heading: tuple[float, float] = (1.0, 0.0),
        light: float = 1.0,
    ) -> None:
        self.canvas, self.ident, self.x, self.z, self.heading, self.light = canvas, ident, x, z, heading, light
        self.scale = canvas.camera.focal / max(z, _NEAR)  # pixels per metre at the origin

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Points (...,2) as (a, y) or (...,3) as (a, b, y) -> pixels (...,2)."""
        points = np.asarray(points, np.float64)
        a, y = points[..., 0], points[..., -1]
        b = points[..., 1] if points.shape[-1] == 3 else 0.0
        hx, hz = self.heading
        return self.canvas.camera.project(self.x + a * hx - b * hz, y, self.z + a * hz + b * hx)

    def fill(self, points: np.ndarray, color: Color) -> None:
        """Fill polygons, points (n,2|3) or (k,n,2|3)."""
        self.canvas.fill(self.pixels(points), self.lit(color), self.ident, self.z)

    def fill_each(self, points: np.ndarray, colors: list[Color]) -> None:
        """Fill polygons (k,n,2|3) that may overlap, one after the other, each in its own colour."""
        for shape, color in zip(self.pixels(points), colors, strict=True):
            self.canvas.fill(shape, self.lit(color), self.ident, self.z)

    def paint(self, points: np.ndarray, color: Color) -> None:
        """Like `fill`, for details inside what is already this object: the ids stay."""
        self.canvas.fill(self.pixels(points), self.lit(color), None, self.z)

    def mark(self, points: np.ndarray) -> None:
        """Like `fill`, ids only: what lies behind shows through."""
        self.canvas.fill(self.pixels(points), None, self.ident, self.z)

    def stroke(self, points: np.ndarray, color: Color, width: float, mark: bool = True) -> None:
        """Open polylines, `width` in metres."""
        ident = self.ident if mark else None
        self.canvas.stroke(self.pixels(points), self.lit(color), ident, width * self.scale, self.z)

    def shadow(self, half: float, depth: float, factor: float) -> None:
        """Darken an ellipse on the ground, `half` metres along a and `depth` along b."""
        ring = disc(0, 0, 1, 16)
        self.canvas.shade(self.pixels(np.stack([ring[:, 0] * half, ring[:, 1] * depth, 0 * ring[:, 0]], -1)), factor)

    def lit(self, color: Color) -> Color:
        """The colour under this frame's light."""
        return tuple(c * self.light for c in color)


def disc(a: float, y: float, radius: float, corners: int = 20) -> np.ndarray:
    """Regular polygon (corners,2) around (a, y)."""
    return _ring(corners) * radius + (a, y)


@lru_cache
def _ring(corners: int) -> np.ndarray:
    angle = np.arange(corners) * (2 * np.pi / corners)
    return np.stack([np.cos(angle), np.sin(angle)], -1).round(6)


def rect(a0: float, a1: float, y0: float, y1: float) -> np.ndarray:
    """Axis-parallel rectangle (4,2)."""
    return np.array([(a0, y0), (a1, y0), (a1, y1), (a0, y1)], np.float64)


def _fixed(points: np.ndarray) -> np.ndarray:
    """(n,2) or (k,n,2) pixels -> (k,n,2) int32 in 1/16 pixel, cut to what the rasteriser can take."""
    points = np.asarray(points)
    shapes = points if points.ndim == 3 else points[None]
    return np.floor(shapes * (1 << _SHIFT) + 0.5).clip(-(2**22), 2**22).astype(np.int32)
