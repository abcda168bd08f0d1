"""What lines a synthetic street: houses, walls, fences and hedges."""

from collections.abc import Callable

import numpy as np

from datasets.synthetic.canvas import LABEL_ID, Canvas, Frame, disc, rect
from datasets.synthetic.colors import draw_color, draw_grey, draw_leaf, mixed, scaled
from datasets.synthetic.ground import Side

AHEAD = (0.0, 1.0)  # heading of things along the street
Heading = tuple[float, float]
Maker = Callable[[Canvas, np.random.Generator, float, float, Heading, float, float], None]


def draw_background(canvas: Canvas, rng: np.random.Generator) -> None:
    """The skyline where the street ends."""
    x, z = -70.0, float(rng.uniform(60, 110))
    while x < 70:
        width = rng.uniform(8, 20)
        make, low, high = ((building, 7, 22), (hedge, 4, 9))[rng.choice(2)]
        _stand(canvas, rng.integers(2**32), make, x, z, (1.0, 0.0), width, rng.uniform(low, high))
        x += width + (rng.uniform(0, 12) if rng.random() < 0.4 else 0)


def draw_border(canvas: Canvas, rng: np.random.Generator, side: Side) -> None:
    """Houses, walls, fences and hedges along one side, far ones first; low ones have a second row behind."""
    cuts = np.array([3.0, 9.0, 17.0, 28.0, 45.0, 75.0]) + np.append(rng.uniform(-1.5, 1.5, 5), 0)
    near, far = [0.2, 0.27, 0.37, 0.16], [0.48, 0.14, 0.23, 0.15]
    for i in range(4, -1, -1):
        kind, length = rng.choice(4, p=near if i < 3 else far), cuts[i + 1] - cuts[i]
        if kind and rng.random() < 0.75:
            behind = building if rng.random() < 0.6 else hedge
            tall = rng.uniform(6, 14) if behind is building else rng.uniform(3, 8)
            _block(canvas, rng, behind, side.sign, side.line + rng.uniform(5, 12), cuts[i], length, tall)
        maker, low, high = ((building, 7, 20), (wall, 1.7, 2.8), (fence, 1.8, 2.7), (hedge, 1.2, 3))[kind]
        _block(canvas, rng, maker, side.sign, side.line, cuts[i], length, rng.uniform(low, high))


def _block(
    canvas: Canvas, rng: np.random.Generator, make: Maker, sign: int, x: float, z: float, length: float, height: float
) -> None:
    """Something along the street from z on, and its end that faces the camera."""
    seed = rng.integers(2**32)  # both faces have the same looks
    end = 12.0 if make is building else rng.choice([0.0, 5.0])
    if end:
        _stand(canvas, seed, make, sign * x, z, (float(sign), 0.0), end, height)
    _stand(canvas, seed, make, sign * x, z, AHEAD, length, height)


def _stand(
    canvas: Canvas, seed: int, make: Maker, x: float, z: float, heading: Heading, length: float, height: float
) -> None:
    """Draw it with its own random numbers, unless it is outside the image."""
    ends = Frame(canvas, 0, x, z, heading).pixels(np.array([(-1, 0), (length + 1, 0)]))[:, 0]
    if ends.max() > 0 and ends.min() < canvas.camera.width:
        make(canvas, np.random.Generator(np.random.PCG64(seed)), x, z, heading, length, height)


def building(
    canvas: Canvas, rng: np.random.Generator, x: float, z: float, heading: Heading, length: float, height: float
) -> None:
    """A facade with floors of windows, a ground floor with doors or shop windows, and a cornice."""
    light = 1.0 if heading == AHEAD else rng.uniform(0.75, 0.95)
    face = Frame(canvas, LABEL_ID["building"], x, z, heading, light)
    base = mixed(draw_color(rng), draw_grey(rng, 90, 210), rng.uniform(0.6, 0.95))
    glass = mixed(draw_grey(rng, 25, 90), (150, 180, 210), rng.choice([0, 0.5]))
    lit = (245, 215, 140)
    face.fill(rect(0, length, 0, height), base)
    face.paint(rect(0, length, 0, 0.5), scaled(base, 0.7))
    step, wide, tall = rng.uniform(2.0, 3.2), rng.uniform(0.4, 0.7), rng.uniform(1.3, 1.9)
    cols, floors = np.arange(step * 0.3, length - step * wide, step), np.arange(3.9, height - tall - 0.3, 3.0)
    panes = np.array([rect(a, a + step * wide, y, y + tall) for y in floors for a in cols])
    frame = scaled(base, rng.choice([0.65, 1.3]))
    if len(panes):
        face.paint(panes + np.array([(-0.15, -0.15), (0.15, -0.15), (0.15, 0.15), (-0.15, 0.15)]), frame)
        face.paint(panes, glass)
        chosen = rng.random(len(panes)) < 0.12
        if chosen.any():
            face.paint(panes[chosen], lit)
    shops = np.array([rect(a, a + step * 0.6, 0.0 if i % 3 == 1 else 0.9, 2.4) for i, a in enumerate(cols)])
    if len(shops):
        face.paint(shops, glass)
    if len(shops) > 1:
        face.paint(shops[1::3], scaled(base, 0.4))
    face.paint(rect(0, length, 2.9, 3.2), scaled(base, 0.8))
    face.fill(rect(-0.2, length + 0.2, height - 0.35, height + 0.1), scaled(base, 1.2))


def wall(
    canvas: Canvas, rng: np.random.Generator, x: float, z: float, heading: Heading, length: float, height: float
) -> None:
    """A low solid wall of large blocks in courses under a coping."""
    face = Frame(canvas, LABEL_ID["wall"], x, z, heading, 1.0 if heading == AHEAD else rng.uniform(0.75, 0.95))
    base = mixed(draw_grey(rng, 80, 200), (150, 95, 75), rng.choice([0.1, 0.6, 0.9]))
    face.fill(rect(0, length, 0, height), base)
    mortar, course, block = scaled(base, rng.choice([0.55, 1.45])), 0.32, 0.7
    levels = np.arange(course, height - 0.2, course)
    face.stroke(np.array([[(0, y), (length, y)] for y in levels]), mortar, 0.03, mark=False)
    for i in range(2):
        a, y = np.meshgrid(np.arange(block * (0.5 + 0.5 * i), min(length, 24.0), block), levels[i::2])
        joints = np.stack([np.stack([a, y - course], -1), np.stack([a, y], -1)], -2)
        face.stroke(joints.reshape(-1, 2, 2), mortar, 0.03, mark=False)
    face.fill(rect(-0.1, length + 0.1, height - 0.16, height + 0.06), scaled(base, 1.3))


def fence(
    canvas: Canvas, rng: np.random.Generator, x: float, z: float, heading: Heading, length: float, height: float
) -> None:
    """Posts, rails and a lattice that lets the background through; all of it counts as fence."""
    face = Frame(canvas, LABEL_ID["fence"], x, z, heading)
    color = (draw_grey(rng, 200, 240), (40, 80, 58))[rng.choice(2)]
    face.mark(rect(0, length, 0.05, height))
    canvas.blend(face.pixels(rect(0, length, 0.05, height)), color, 0.5)  # bars too fine to be drawn
    # evenly spaced in the image, so that the lattice neither closes up nor turns to moire in the distance
    ends = face.pixels(np.array([(0, 0), (length, 0)]))[:, 0]
    clipped = np.clip(ends, -0.2 * canvas.camera.width, 1.2 * canvas.camera.width)
    count = int(min(abs(clipped[1] - clipped[0]) / canvas.camera.height * 256 / 8, 120)) + 2
    columns = np.linspace(clipped[0], clipped[1], count) - canvas.camera.drift
    hx, hz = heading
    along = (columns * z - canvas.camera.focal * x) / (canvas.camera.focal * hx - columns * hz)
    along = np.clip(along, 0, length)
    lean = min(count - 1, 3)
    for low, high in ((along[: count - lean], along[lean:]), (along[lean:], along[: count - lean])):
        bars = np.stack([np.stack([low, 0 * low + 0.1], -1), np.stack([high, 0 * high + height], -1)], 1)
        face.canvas.stroke(face.pixels(bars), color, None, canvas.camera.height / 170, z)
    for y in (0.25, height - 0.1):
        face.stroke(np.array([(0, y), (length, y)]), scaled(color, 0.9), 0.07, mark=False)
    for a in np.arange(0, length, 2.5):
        face.stroke(np.array([(a, 0), (a, height + 0.05)]), scaled(color, 0.85), 0.1)


def hedge(
    canvas: Canvas, rng: np.random.Generator, x: float, z: float, heading: Heading, length: float, height: float
) -> None:
    """A row of bushes."""
    face = Frame(canvas, LABEL_ID["vegetation"], x, z, heading)
    color = draw_leaf(rng)
    face.fill(rect(0, length, 0, height * 0.8), scaled(color, 0.8))
    radius = height * 0.35
    steps = np.arange(0, length, radius)
    spots = np.stack([np.repeat(steps, 2), np.tile([height * 0.75, height * 0.35], len(steps))], -1)
    spots += rng.uniform(-0.3, 0.3, spots.shape) * radius
    face.fill_each(
        spots[:, None] + disc(0, 0, radius, 9), [scaled(color, f) for f in rng.uniform(0.65, 1.2, len(spots))]
    )
