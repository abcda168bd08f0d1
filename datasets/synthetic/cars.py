"""Cars and trucks of the synthetic street scenes."""

import numpy as np

from datasets.synthetic.body import LAMP, TAIL, Body
from datasets.synthetic.canvas import Canvas, Color, rect
from datasets.synthetic.colors import draw_color, draw_grey, draw_vivid, mixed, scaled


def car(
    canvas: Canvas, rng: np.random.Generator, x: float, z: float, heading: tuple[float, float], dark: float
) -> None:
    """Saloon, hatchback or estate."""
    length, height, width = rng.uniform(3.9, 4.6), rng.uniform(1.4, 1.65), 1.8
    body = Body(canvas, canvas.new_id("car"), x, z, heading, length, width)
    color, glass = draw_color(rng), mixed(draw_grey(rng, 20, 60, 3), (120, 150, 175), rng.uniform(0, 0.5))
    nose, tail, rake = rng.uniform(0.9, 1.2), rng.choice([0.1, 0.25, 0.8]), rng.uniform(0.6, 0.8)
    body.ground(dark * 0.7)
    lower = np.array([(0, 0.3), (0, 0.8), (0.1, 0.95), (length - nose, 0.95), (length - 0.08, 0.75), (length, 0.3)])
    base = (tail, 0.93), (length - nose, 0.93)
    cabin = np.array([base[0], (tail + 0.45, height), (length - nose - rake, height), base[1]])
    body.hull(lower, scaled(color, 0.9))
    body.hull(cabin, scaled(color, 0.95), 0.12)
    body.face(rect(-0.9, 0.9, 0.3, 0.85), color, 0.85)
    body.flank(lower, color)
    body.flank(cabin, color, 0.95, 0.12)
    mid = (tail + length - nose) / 2 - 0.1
    rear_pane = np.array(
        [(tail + 0.25, 1.0), (tail + 0.55, height - 0.1), (mid - 0.05, height - 0.1), (mid - 0.05, 1.0)]
    )
    front_pane = np.array(
        [
            (mid + 0.05, 1.0),
            (mid + 0.05, height - 0.1),
            (length - nose - rake - 0.05, height - 0.1),
            (base[1][0] - 0.2, 1.0),
        ]
    )
    for pane in (rear_pane, front_pane):
        body.flank(pane, glass, inset=0.12)
    body.flank(rect(mid - 0.02, mid + 0.02, 0.4, 0.93), color, 0.6)
    body.flank(rect(0.3, length - 0.3, 0.3, 0.42), color, 0.5)
    _car_end(body, glass, height, base, cabin)
    body.wheels((0.75, length - 0.8), 0.33)


def _car_end(body: Body, glass: Color, height: float, base: tuple, cabin: np.ndarray) -> None:
    """Windscreen, lamps, grille and plate of the end that is seen."""
    if body.end is None:
        return
    front = body.end > 0
    low, high = (base[1][0], cabin[2][0]) if front else (base[0][0], cabin[1][0])
    screen = [(low, -0.72, 0.98), (low, 0.72, 0.98), (high, 0.62, height - 0.08), (high, -0.62, height - 0.08)]
    body.canvas.fill(body.pixels(np.array(screen)), glass, body.ident, body.z)
    lamp = LAMP if front else TAIL
    for b in (-0.85, 0.5):
        body.face(rect(b, b + 0.35, 0.6, 0.78), lamp)
    body.face(rect(-0.4, 0.4, 0.55, 0.72) if front else rect(-0.85, 0.85, 0.3, 0.42), (35, 35, 38))
    body.face(rect(-0.25, 0.25, 0.42, 0.53), (235, 235, 225))


def truck(
    canvas: Canvas, rng: np.random.Generator, x: float, z: float, heading: tuple[float, float], dark: float
) -> None:
    """A cab before a taller cargo box, on a dark chassis."""
    length, top, width = rng.uniform(6.0, 7.5), rng.uniform(3.0, 3.5), 2.3
    body = Body(canvas, canvas.new_id("truck"), x, z, heading, length, width)
    cab, cargo = draw_vivid(rng), mixed(draw_grey(rng, 120, 235), draw_color(rng, 0), rng.choice([0, 0.2]))
    split, roof = length - 1.9, rng.uniform(2.3, 2.7)
    body.ground(dark * 0.6)
    chassis = rect(0.1, length - 0.1, 0.4, 0.95)
    box = rect(0, split - 0.25, 0.95, top)
    nose = np.array([(split, 0.5), (split, roof), (length - 0.35, roof), (length, 1.4), (length, 0.5)])
    parts = [lambda: _cargo(body, box, cargo), lambda: _cab(body, nose, cab, split, length, roof)]
    body.hull(chassis, (38, 38, 42))
    for part in parts if body.end != 0 else parts[::-1]:
        part()
    body.wheels((0.9, 2.0, length - 0.95), 0.5)
    if body.end == 0:
        body.face(rect(-width / 2, width / 2, 0.95, top), cargo, 0.9)
        body.face(np.array([rect(-0.03, 0.03, 1.0, top - 0.1), rect(-0.15, -0.1, 1.4, 2.2)]), cargo, 0.5)
        body.face(np.array([rect(-1.1, -0.8, 0.65, 0.85), rect(0.8, 1.1, 0.65, 0.85)]), TAIL)


def _cargo(body: Body, box: np.ndarray, color: Color) -> None:
    body.hull(box, scaled(color, 0.85))
    body.flank(box, color)
    a1, y1 = box[2]
    ribs = np.arange(0.5, a1 - 0.2, 0.6)
    body.flank(np.array([rect(a, a + 0.09, 1.0, y1 - 0.05) for a in ribs]), color, 0.72)
    body.flank(np.array([rect(0, a1, y1 - 0.12, y1), rect(0, a1, 0.95, 1.07)]), color, 0.6)
    if body.end:  # the wall behind the cab
        body.face(rect(-body.width / 2, body.width / 2, 0.95, y1), color, 0.8, body.length - a1)


def _cab(body: Body, nose: np.ndarray, color: Color, split: float, length: float, roof: float) -> None:
    glass = (45, 55, 65)
    body.hull(nose, scaled(color, 0.9))
    body.flank(nose, color)
    body.flank(
        np.array([(split + 0.5, 1.45), (split + 0.5, roof - 0.3), (length - 0.5, roof - 0.3), (length - 0.2, 1.45)]),
        glass,
    )
    if not body.end:
        return
    body.face(rect(-1.15, 1.15, 0.5, 1.4), color, 0.9)
    screen = [
        (length, -1.05, 1.45),
        (length, 1.05, 1.45),
        (length - 0.3, 1.0, roof - 0.2),
        (length - 0.3, -1.0, roof - 0.2),
    ]
    body.canvas.fill(body.pixels(np.array(screen)), glass, body.ident, body.z)
    body.face(np.array([rect(-1.05, -0.7, 0.65, 0.9), rect(0.7, 1.05, 0.65, 0.9)]), LAMP)
    body.face(np.array([rect(-0.6, 0.6, y, y + 0.08) for y in (0.8, 0.98, 1.16)]), (35, 35, 38))
