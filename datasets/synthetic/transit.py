"""Buses and trains of the synthetic street scenes."""

import numpy as np

from datasets.synthetic.body import LAMP, TAIL, Body
from datasets.synthetic.canvas import Canvas, Frame, disc, rect
from datasets.synthetic.colors import draw_grey, draw_vivid, mixed, scaled


def bus(
    canvas: Canvas, rng: np.random.Generator, x: float, z: float, heading: tuple[float, float], dark: float
) -> None:
    """A tall box with large panes parted by pillars, doors, two axles and an amber destination sign."""
    length, top, width = rng.uniform(8.0, 10.0), rng.uniform(2.9, 3.2), 2.4
    body = Body(canvas, canvas.new_id("bus"), x, z, heading, length, width)
    color, glass = draw_vivid(rng), mixed((30, 36, 44), (95, 115, 135), rng.random())
    body.ground(dark * 0.6)
    body.hull(rect(0, length, 0.3, top), scaled(color, 0.9))
    body.flank(rect(0, length, 0.3, top), color)
    panes = np.arange(0.3, length - 1.2, 1.35)
    body.flank(np.array([rect(a, a + 1.15, 1.25, 2.45) for a in panes]), glass)
    for a in (length - 1.35, length / 2 - 0.6):
        body.flank(rect(a, a + 1.2, 0.4, 2.5), (30, 32, 36))
        body.flank(
            np.array([rect(a + 0.1, a + 0.55, 0.55, 2.35), rect(a + 0.65, a + 1.1, 0.55, 2.35)]), scaled(glass, 1.4)
        )
    body.flank(rect(0, length, 0.3, 0.45), color, 0.5)
    body.face(rect(-width / 2, width / 2, 0.3, top), color, 0.88)
    body.face(rect(-1.08, 1.08, 1.1, 2.4), glass)
    front = bool(body.end)
    body.face(rect(-0.85, 0.85, 2.5, 2.8), (240, 165, 40) if front else (60, 60, 60))
    body.face(np.array([rect(-1.1, -0.75, 0.6, 0.85), rect(0.75, 1.1, 0.6, 0.85)]), LAMP if front else TAIL)
    body.face(rect(-0.3, 0.3, 0.55, 0.7), (235, 235, 225))
    body.wheels((1.7, length - 2.4), 0.48)


def train(
    canvas: Canvas, rng: np.random.Generator, x: float, z: float, heading: tuple[float, float], dark: float
) -> None:
    """A tram: one ribbon of dark glass over a stripe, a sloping nose, a dark skirt, no wheels, a bow on the roof."""
    length, top, width = rng.uniform(12, 16), 3.3, 2.4
    body = Body(canvas, canvas.new_id("train"), x, z, heading, length, width)
    color, stripe, glass = draw_grey(rng, 170, 235), draw_vivid(rng), (28, 32, 40)
    body.ground(dark * 0.6)
    shell = np.array([(0, 0.25), (0, 2.0), (0.5, top), (length - 0.5, top), (length, 2.0), (length, 0.25)])
    body.hull(shell, scaled(color, 0.9))
    body.flank(shell, color)
    body.flank(rect(0, length, 0.25, 0.6), (42, 42, 46))
    body.flank(rect(0, length, 0.8, 1.25), stripe)
    body.flank(np.array([(0.25, 1.5), (0.55, 2.6), (length - 0.55, 2.6), (length - 0.25, 1.5)]), glass)
    body.flank(rect(0.5, length - 0.5, top - 0.3, top), (105, 108, 112))
    for a in (length * 0.3, length * 0.7):
        body.flank(rect(a - 0.65, a + 0.65, 0.6, 2.6), (190, 192, 195))
        body.flank(np.array([rect(a - 0.55, a - 0.06, 0.7, 2.5), rect(a + 0.06, a + 0.55, 0.7, 2.5)]), glass)
    bow = np.array([(length / 2, 0, top), (length / 2 + 0.9, 0, top + 0.5), (length / 2, 0, top + 1.0)])
    body.stroke(bow, (50, 50, 55), 0.09)
    body.face(rect(-width / 2, width / 2, 0.25, 2.0), color, 0.9)
    body.face(rect(-width / 2, width / 2, 0.25, 0.6), (42, 42, 46))
    body.face(rect(-width / 2, width / 2, 0.8, 1.15), stripe)
    if body.end is not None:
        low, high = (length, length - 0.45) if body.end else (0.0, 0.45)
        screen = [(low, -1.1, 1.3), (low, 1.1, 1.3), (high, 1.0, 2.9), (high, -1.0, 2.9)]
        body.canvas.fill(body.pixels(np.array(screen)), glass, body.ident, body.z)
        body.face(np.array([disc(b, 1.0, 0.16, 10) for b in (-0.8, 0.8)]), LAMP if body.end else TAIL)
        body.face(disc(0, 3.05, 0.13, 10), LAMP, inset=0.4)


def rails(canvas: Canvas, x: float, z: float, heading: tuple[float, float]) -> None:
    """The pair of rails in the road under a train at (x, z); the ids stay."""
    track = Frame(canvas, 0, x, z, heading)
    for b in (-0.75, 0.75):
        for width, color in ((0.28, (62, 60, 60)), (0.09, (185, 185, 190))):
            quad = [(-60, b - width / 2, 0), (60, b - width / 2, 0), (60, b + width / 2, 0), (-60, b + width / 2, 0)]
            track.paint(np.array(_ahead(quad, z, heading[1])), color)


def _ahead(quad: list, z: float, hz: float) -> list:
    """Cut a ground strip along the street where it would pass behind the camera."""
    return [
        (max(a, (1.5 - z) / hz) if hz > 0.3 else min(a, (1.5 - z) / hz) if hz < -0.3 else a, b, y) for a, b, y in quad
    ]
