"""The boxy frame of a vehicle in the synthetic street scenes, seen from any side."""

import cv2
import numpy as np

from datasets.synthetic.canvas import Canvas, Color, Frame, disc, rect
from datasets.synthetic.colors import scaled

TYRE, LAMP, TAIL = (28, 28, 30), (250, 245, 215), (190, 30, 25)


class Body(Frame):
    """A vehicle's frame: a from 0 at its rear to `length`, b from -width/2 to width/2.

    Args:
        canvas: What is drawn on.
        ident: Instance id.
        x, z: World position of the centre.
        heading: Where it drives to, unit vector (x, z).
        length, width: Metres.
    """

    def __init__(
        self, canvas: Canvas, ident: int, x: float, z: float, heading: tuple[float, float], length: float, width: float
    ) -> None:
        hx, hz = heading
        super().__init__(canvas, ident, x - hx * length / 2, z - hz * length / 2, heading)
        self.length, self.width = length, width
        self.z, self.scale = z, canvas.camera.focal / z
        self._center = (x, z)
        self._base = (x - hx * length / 2, z - hz * length / 2)
        # left side has normal (-hz, hx); a face is seen when its normal points back at the camera
        self.side = next((s * width / 2 for s in (-1, 1) if self._seen(-hz * s, hx * s, width / 2)), None)
        self.end = next((e for e, s in ((0.0, -1), (length, 1)) if self._seen(hx * s, hz * s, length / 2)), None)

    def _seen(self, nx: float, nz: float, reach: float) -> bool:
        x, z = self._center
        return (x + nx * reach) * nx + (z + nz * reach) * nz < -0.05

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """The origin is the rear, while `z` is the centre's for haze and scale."""
        points = np.asarray(points, np.float64)
        a, y = points[..., 0], points[..., -1]
        b = points[..., 1] if points.shape[-1] == 3 else 0.0
        hx, hz = self.heading
        return self.canvas.camera.project(self._base[0] + a * hx - b * hz, y, self._base[1] + a * hz + b * hx)

    def hull(self, profile: np.ndarray, color: Color, inset: float = 0.0) -> None:
        """Fill the outline of a solid whose side profile (n,2) is convex; `inset` metres narrower on each side."""
        profile, half = np.asarray(profile, np.float64), self.width / 2 - inset
        both = np.concatenate([_beside(profile, -half), _beside(profile, half)])
        self.canvas.fill(
            cv2.convexHull(self.pixels(both).astype(np.float32))[:, 0], self.lit(color), self.ident, self.z
        )

    def flank(self, points: np.ndarray, color: Color, light: float = 1.0, inset: float = 0.0) -> None:
        """Fill (n,2) or (k,n,2) as (a, y) on the side that is seen, if any."""
        if self.side is not None:
            b = self.side - np.sign(self.side) * inset
            self.canvas.fill(self.pixels(_beside(points, b)), scaled(color, light), self.ident, self.z)

    def face(self, points: np.ndarray, color: Color, light: float = 1.0, inset: float = 0.0) -> None:
        """Fill (n,2) or (k,n,2) as (b, y) on the end that is seen, if any; `inset` metres back from it."""
        if self.end is not None:
            points = np.asarray(points, np.float64)
            a = np.full(points.shape[:-1], inset if self.end == 0 else self.end - inset)
            self.canvas.fill(
                self.pixels(np.concatenate([a[..., None], points], -1)), scaled(color, light), self.ident, self.z
            )

    def wheels(self, places: tuple[float, ...], radius: float) -> None:
        """Wheels on the side that is seen, and tyres below the end."""
        half = self.width / 2
        for b in (-half, half - 0.25):
            self.face(rect(b, b + 0.25, 0, radius), TYRE)
        for a in places:
            self.flank(disc(a, radius, radius * 1.15), (15, 15, 16))
            self.flank(disc(a, radius, radius), TYRE)
            self.flank(disc(a, radius, radius * 0.55, 10), (165, 165, 170))

    def ground(self, factor: float) -> None:
        """The shadow under it."""
        half = self.width / 2 + 0.15
        corners = [(-0.2, -half, 0), (self.length + 0.2, -half, 0), (self.length + 0.2, half, 0), (-0.2, half, 0)]
        self.canvas.shade(self.pixels(np.array(corners)), factor)


def _beside(points: np.ndarray, b: float) -> np.ndarray:
    """(...,2) as (a, y) -> (...,3) as (a, b, y)."""
    points = np.asarray(points, np.float64)
    return np.stack([points[..., 0], np.full(points.shape[:-1], b), points[..., 1]], -1)
