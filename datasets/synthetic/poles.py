"""Poles, traffic lights, traffic signs, trees and litter bins of the synthetic street scenes."""

import numpy as np

from datasets.synthetic.canvas import LABEL_ID, UNLABELED, Canvas, Frame, disc, rect
from datasets.synthetic.colors import draw_color, draw_grey, draw_leaf, mixed, scaled

RED, BLUE, WHITE, YELLOW = (195, 30, 35), (30, 75, 165), (238, 238, 235), (240, 190, 40)


def pole(
    canvas: Canvas, rng: np.random.Generator, x: float, z: float, dark: float, tall: float, wide: float = 0.22
) -> Frame:
    """A round post with a bright and a dark edge and rings of warning paint. Returns its frame."""
    post = Frame(canvas, LABEL_ID["pole"], x, z)
    color = draw_grey(rng, *((45, 70), (135, 175))[rng.choice(2)], 4)
    post.shadow(0.4, 0.25, dark)
    post.fill(rect(-wide / 2, wide / 2, 0, tall), color)
    rings = np.array([rect(-wide / 2, wide / 2, y, y + 0.3) for y in np.arange(0.5, min(tall, 3.2) - 0.3, 0.6)])
    if len(rings):
        post.paint(rings, YELLOW if color[0] < 100 else (200, 60, 50))
    canvas.blend(post.pixels(rect(-wide / 2, -wide / 6, 0, tall)), (255, 255, 255), 0.45)
    canvas.blend(post.pixels(rect(wide / 6, wide / 2, 0, tall)), (0, 0, 0), 0.5)
    post.fill(rect(-wide * 0.8, wide * 0.8, 0, 0.35), scaled(color, 0.7))
    return post


def street_lamp(canvas: Canvas, rng: np.random.Generator, x: float, z: float, dark: float) -> None:
    """A tall post whose arm holds a lamp over the street."""
    post = pole(canvas, rng, x, z, dark, rng.uniform(5.5, 8), 0.3)
    if rng.random() < 0.6:
        tall, reach = rng.uniform(4.5, 6), -np.sign(x) * rng.uniform(1, 1.8)
        post.stroke(np.array([(0, tall), (reach, tall + 0.3)]), (90, 92, 95), 0.14)
        post.fill(rect(*sorted((reach, reach * 1.5)), tall + 0.2, tall + 0.42), (70, 72, 75))


def traffic_light(canvas: Canvas, rng: np.random.Generator, x: float, z: float, dark: float) -> None:
    """A dark box with a bright rim and three lamps, one of them lit, on a post."""
    top = min(rng.uniform(2.9, 3.6), _ceiling(canvas, z))
    pole(canvas, rng, x, z, dark, top - 0.9)
    box = Frame(canvas, canvas.new_id("traffic light"), x, z)
    box.fill(rect(-0.36, 0.36, top - 1.4, top + 0.1), (WHITE, YELLOW)[rng.choice(2)])
    box.fill(rect(-0.27, 0.27, top - 1.3, top), (26, 28, 30))
    lit = rng.choice(3)
    for i, color in enumerate(((245, 45, 35), (250, 180, 40), (40, 225, 120))):
        lamp = disc(0, top - 0.24 - 0.41 * i, 0.19, 14)
        box.paint(lamp, color if i == lit else mixed(color, (30, 30, 30), 0.75))


def traffic_sign(canvas: Canvas, rng: np.random.Generator, x: float, z: float, dark: float) -> None:
    """One of the usual shapes on a post, with a rim and a symbol."""
    radius = rng.uniform(0.42, 0.58)
    center = min(rng.uniform(2.2, 3.0), _ceiling(canvas, z) - radius)
    pole(canvas, rng, x, z, dark, center, 0.2)
    sign = Frame(canvas, canvas.new_id("traffic sign"), x, z)
    _plate(sign, int(rng.choice(6)), center, radius)
    if rng.random() < 0.3:
        sign.fill(rect(-0.4, 0.4, center - radius - 0.4, center - radius - 0.05), WHITE)
        sign.paint(rect(-0.28, 0.28, center - radius - 0.27, center - radius - 0.18), (30, 30, 30))


def _plate(sign: Frame, kind: int, y: float, radius: float) -> None:
    """Ban, warning, stop, order, priority or direction."""
    triangle = np.array([(-1.1, -0.8), (1.1, -0.8), (0, 1.1)])
    square = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    diamond = np.array([(-1.25, 0), (0, -1.25), (1.25, 0), (0, 1.25)])
    turn = np.array([(0.924, 0.383), (0.383, 0.924)])
    octagon = np.concatenate([turn, turn[::-1] * (-1, 1), -turn, turn[::-1] * (1, -1)]) * 1.1
    ring, black = disc(0, 0, 1, 20), (25, 25, 25)
    bar, arrow = (
        rect(-0.6, 0.6, -0.17, 0.17),
        np.array([(-0.5, -0.1), (0, 0.65), (0.5, -0.1), (0.15, -0.1), (0.15, -0.6), (-0.15, -0.6), (-0.15, -0.1)]),
    )
    layers = (
        [(ring, RED), (ring * 0.72, WHITE), (bar * 0.7, black)],
        [(triangle, RED), (triangle * 0.62, WHITE), (rect(-0.09, 0.09, -0.3, 0.35), black)],
        [(octagon, WHITE), (octagon * 0.9, RED), (bar * 1.1, WHITE)],
        [(ring, WHITE), (ring * 0.88, BLUE), (arrow, WHITE)],
        [(diamond, WHITE), (diamond * 0.72, YELLOW)],
        [(square, WHITE), (square * 0.86, BLUE), (arrow * 0.9, WHITE)],
    )[kind]
    for i, (shape, color) in enumerate(layers):
        (sign.fill if i == 0 else sign.paint)(shape * radius + (0, y), color)


def tree(canvas: Canvas, rng: np.random.Generator, x: float, z: float, dark: float) -> None:
    """A trunk under a crown of leaves."""
    trunk = Frame(canvas, canvas.new_id("vegetation"), x, z)
    leaf, base, size = draw_leaf(rng), rng.uniform(1.9, 2.8), rng.uniform(1.2, 2.0)
    trunk.shadow(size, size * 0.6, dark)
    trunk.stroke(np.array([(0, 0), (0, base + 0.6)]), mixed((85, 65, 48), (70, 70, 66), rng.random()), 0.32)
    a, y = rng.uniform(-1, 1, (2, 26))
    spots = np.stack([a * size * 0.8, base + size * (0.9 + 0.75 * y * (1 - 0.4 * abs(a)))], -1)
    lights = rng.uniform(0.6, 1.0, 26) + 0.2 * y
    trunk.fill_each(spots[:, None] + disc(0, 0, size * 0.42, 9), [scaled(leaf, f) for f in lights])


def bin_or_box(canvas: Canvas, rng: np.random.Generator, x: float, z: float, dark: float) -> None:
    """Street furniture that no class covers; its pixels are ignored."""
    box = Frame(canvas, UNLABELED, x, z)
    color, wide, tall = draw_color(rng), rng.uniform(0.25, 0.5), rng.uniform(0.7, 1.3)
    box.shadow(wide + 0.1, 0.3, dark)
    box.fill(rect(-wide, wide, 0, tall), color)
    box.paint(rect(-wide, wide, tall * 0.8, tall), scaled(color, 0.6))


def _ceiling(canvas: Canvas, z: float) -> float:
    """Height in metres that is still inside the image at the distance z."""
    camera = canvas.camera
    return camera.eye + 0.92 * camera.horizon * z / camera.focal
