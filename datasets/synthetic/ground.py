"""Sky and ground of the synthetic street scenes."""

from dataclasses import dataclass

import numpy as np

from datasets.synthetic.canvas import LABEL_ID, Canvas, Color
from datasets.synthetic.colors import Mood, draw_grey, mixed, scaled

FAR = 3000.0  # metres; the ground ends here, about a pixel below the horizon


@dataclass(frozen=True)
class Side:
    """One side of the street, edges in metres from the camera's axis, outwards.

    Args:
        sign: -1 left, 1 right.
        curb: Where the road ends.
        edges: Outer edges of the strips after the road, ascending.
        kinds: Class of each strip, `sidewalk` or `terrain`.
    """

    sign: int
    curb: float
    edges: tuple[float, ...]
    kinds: tuple[str, ...]

    @property
    def line(self) -> float:
        """Distance at which houses, walls and fences stand."""
        return self.edges[-1]


def draw_side(rng: np.random.Generator, sign: int) -> Side:
    """Pavement, often with a strip of grass on either side of it."""
    curb = rng.uniform(2.6, 4.4)
    kinds = (("sidewalk",), ("sidewalk", "terrain"), ("terrain", "sidewalk"), ("terrain",))[
        rng.choice(4, p=[0.25, 0.35, 0.25, 0.15])
    ]
    widths = rng.uniform(1.8, 3.2, len(kinds))
    return Side(sign, curb, tuple(curb + widths.cumsum()), kinds)


def draw_sky(canvas: Canvas, mood: Mood, clouds: np.ndarray) -> None:
    """Gradient from the zenith to the haze with `clouds`, (H,W) int8, blended in; fills what is above the horizon."""
    horizon = int(canvas.camera.horizon) + 2
    rows = np.clip(np.arange(horizon) / canvas.camera.horizon, 0, 1).astype(np.float32)[:, None, None]
    sky = np.float32(mood.zenith) * (1 - rows) + np.float32(mood.haze) * rows
    share = np.clip((clouds[:horizon].astype(np.float32) + 8) / 80, 0, 1)[..., None] * np.float32(mood.cloud)
    white = np.float32(np.mean(mood.haze) + 12)
    canvas.image[:horizon] = (sky + (white - sky) * share).clip(0, 255).astype(np.uint8)
    canvas.ids[:horizon] = LABEL_ID["sky"]


def draw_ground(canvas: Canvas, rng: np.random.Generator, sides: tuple[Side, Side], mood: Mood) -> None:
    """Road with markings, pavements with slabs, grass."""
    base = draw_grey(rng, 55, 115, 4)
    slab = draw_grey(rng, 120, 200, 8)
    grass = mixed((70, 110, 50), (165, 150, 90), rng.random())
    strip(canvas, -sides[0].curb, sides[1].curb, 0.5, FAR, base, "road")
    for _ in range(int(rng.integers(2, 6))):
        x, z = rng.uniform(-3, 2), rng.uniform(4, 25)
        strip(
            canvas, x, x + rng.uniform(0.4, 1.5), z, z + rng.uniform(1, 8), scaled(base, rng.uniform(0.8, 1.15)), "road"
        )
    _markings(canvas, rng, sides)
    for side in sides:
        inner = side.curb
        for outer, kind in zip(side.edges, side.kinds, strict=True):
            if kind == "sidewalk":
                _pavement(canvas, side.sign, inner, outer, slab)
            else:
                _lawn(canvas, rng, side.sign, inner, outer, scaled(grass, rng.uniform(0.85, 1.15)))
            inner = outer
        _lawn(canvas, rng, side.sign, inner, 60, scaled(grass, rng.uniform(0.7, 1.1)))
    if mood.shadow < 0.65 and rng.random() < 0.6:  # a tall house throws its shadow over the street
        edge, z = rng.uniform(-3, 2) * mood.sun, rng.uniform(5, 12)
        corners = np.array([(mood.sun * 60, z), (edge, z), (edge, FAR), (mood.sun * 60, FAR)])
        canvas.shade(canvas.camera.project(corners[:, 0], 0 * corners[:, 0], corners[:, 1]), mood.shadow + 0.15)


def strip(canvas: Canvas, x0: float, x1: float, z0: float, z1: float, color: Color, name: str | None) -> None:
    """Rectangle on the ground."""
    points = canvas.camera.project(np.array([x0, x1, x1, x0]), np.zeros(4), np.array([z0, z0, z1, z1]))
    canvas.fill(points, color, LABEL_ID[name] if name else None, min(15.0, (z0 * z1) ** 0.5))


def _markings(canvas: Canvas, rng: np.random.Generator, sides: tuple[Side, Side]) -> None:
    paint, lane = draw_grey(rng, 190, 245, 4), (sides[1].curb - sides[0].curb) / 2
    phase, solid = rng.uniform(0, 6), rng.random() < 0.25
    for z in np.arange(3 + phase, 70, 6.0):
        strip(canvas, lane - 0.09, lane + 0.09, z - 3, z + (3 if solid else 0), paint, None)
    if rng.random() < 0.5:
        for side in sides:
            x = side.sign * (side.curb - 0.35)
            strip(canvas, x - 0.06, x + 0.06, 2, 90, paint, None)
    if rng.random() < 0.3:
        z = rng.uniform(7, 14)
        for x in np.arange(-sides[0].curb + 0.4, sides[1].curb - 0.7, 1.0):
            strip(canvas, x, x + 0.5, z, z + 3, paint, None)


def _pavement(canvas: Canvas, sign: int, inner: float, outer: float, color: Color) -> None:
    """Slabs of a metre with dark joints, and a bright curb."""
    strip(canvas, sign * inner, sign * outer, 1.0, FAR, color, "sidewalk")
    joint, steps = scaled(color, 0.68), np.arange(3.0, 40.0, 1.0)
    across = canvas.camera.project(sign * np.array([[inner, outer]]), np.zeros((1, 2)), np.stack([steps, steps], -1))
    canvas.stroke(across, joint, None, canvas.camera.height / 320)
    lanes = np.arange(inner + 0.8, outer, 0.8)
    along = canvas.camera.project(sign * lanes[:, None], np.zeros((1, 2)), np.array([[2.0, 60.0]]))
    if len(lanes):
        canvas.stroke(along, joint, None, canvas.camera.height / 320)
    strip(canvas, sign * (inner - 0.22), sign * inner, 1.0, FAR, scaled(color, 1.35), "sidewalk")


def _lawn(canvas: Canvas, rng: np.random.Generator, sign: int, inner: float, outer: float, color: Color) -> None:
    strip(canvas, sign * inner, sign * outer, 1.0, FAR, color, "terrain")
    x, z = rng.uniform(inner, min(outer, inner + 4), 40), rng.uniform(4, 25, 40)
    tufts = canvas.camera.project(sign * x[:, None], np.array([[0, 0.22]]), z[:, None])
    canvas.stroke(tufts, scaled(color, 0.65), LABEL_ID["terrain"], canvas.camera.height / 180)
