"""Persons, riders, bicycles and motorcycles of the synthetic street scenes, drawn as flat cut-outs."""

import numpy as np

from datasets.synthetic.canvas import Canvas, Color, Frame, disc, rect
from datasets.synthetic.colors import SKIN, draw_color, draw_grey, scaled

RUBBER, STEEL = (30, 30, 32), (150, 150, 155)


def person(canvas: Canvas, rng: np.random.Generator, x: float, z: float, dark: float) -> None:
    """A pedestrian, standing or walking: head, torso, arms and legs."""
    tall = rng.uniform(1.55, 1.95)
    body = Frame(canvas, canvas.new_id("person"), x, z)
    top, legs, skin = draw_color(rng, 0.25), _trousers(rng), SKIN[rng.choice(len(SKIN))]
    hip, neck, stride, swing = 0.5 * tall, 0.83 * tall, rng.uniform(0.03, 0.28), rng.uniform(0.05, 0.25)
    body.shadow(0.45, 0.3, dark)
    for side, light in ((1, 0.8), (-1, 1.0)):
        foot = side * stride + side * 0.06
        body.stroke(np.array([(side * 0.08, hip), (foot * 0.7, hip / 2), (foot, 0.06)]), scaled(legs, light), 0.17)
        body.stroke(np.array([(foot, 0.05), (foot + 0.14, 0.05)]), (35, 30, 28), 0.1)
    _arm(body, (0.17, neck - 0.06), (0.24, hip + 0.22), (0.2 + swing, hip), scaled(top, 0.75), skin)
    body.fill(np.array([(-0.21, neck), (0.21, neck), (0.17, hip - 0.04), (-0.17, hip - 0.04)]), top)
    _arm(body, (-0.18, neck - 0.06), (-0.27, hip + 0.22), (-0.22 - swing, hip), scaled(top, 0.88), skin)
    if rng.random() < 0.3:
        body.fill(rect(-0.38, -0.12, hip - 0.12, hip + 0.18), draw_color(rng))
    _head(body, 0.0, neck, skin, draw_grey(rng, 15, 110, 15))


def _trousers(rng: np.random.Generator) -> Color:
    """Black, denim or khaki."""
    return ((38, 38, 44), (52, 68, 108), (128, 112, 84))[rng.choice(3)]


def _arm(body: Frame, shoulder: tuple, elbow: tuple, hand: tuple, sleeve: Color, skin: Color) -> None:
    body.stroke(np.array([shoulder, elbow, hand]), sleeve, 0.12)
    body.fill(disc(*hand, 0.07, 8), skin)


def _head(body: Frame, a: float, neck: float, skin: Color, hair: Color) -> None:
    body.stroke(np.array([(a, neck - 0.02), (a, neck + 0.08)]), scaled(skin, 0.8), 0.12)
    body.fill(disc(a, neck + 0.18, 0.135, 14), hair)
    body.paint(disc(a + 0.02, neck + 0.145, 0.1, 12), skin)


def bicycle(
    canvas: Canvas, rng: np.random.Generator, x: float, z: float, heading: tuple[float, float], dark: float
) -> Frame:
    """Two thin spoked wheels, seen through but counted as bicycle, and a diamond frame. Returns its frame."""
    bike = Frame(canvas, canvas.new_id("bicycle"), x, z, heading)
    color, radius = draw_color(rng, 0.25), 0.36
    bike.shadow(1.0, 0.25, dark)
    for a in (-0.55, 0.55):
        wheel = disc(a, radius, radius)
        bike.mark(wheel)
        canvas.blend(bike.pixels(wheel), (60, 60, 62), 0.4)  # spokes too fine to be drawn
        if rng.random() < 0.15:  # a disc wheel
            bike.paint(wheel, (95, 95, 98))
        spokes = np.stack([disc(a, radius, radius, 10), np.broadcast_to((a, radius), (10, 2))], 1)
        bike.stroke(spokes, STEEL, 0.012, mark=False)
        bike.stroke(np.concatenate([wheel, wheel[:1]]), RUBBER, 0.075)
    crank, seat, head = (-0.08, 0.34), (-0.24, 0.85), (0.36, 0.82)
    tubes = [
        (crank, seat),
        (crank, head),
        (seat, head),
        ((-0.55, radius), crank),
        ((-0.55, radius), seat),
        (head, (0.55, radius)),
    ]
    bike.stroke(np.array(tubes), color, 0.075)
    bike.stroke(np.array([seat, (-0.27, 0.97)]), STEEL, 0.05)
    bike.stroke(np.array([(-0.4, 0.98), (-0.15, 0.98)]), RUBBER, 0.1)
    bike.stroke(np.array([head, (0.33, 1.03), (0.5, 1.06)]), RUBBER, 0.06)
    bike.fill(disc(*crank, 0.09, 10), (60, 60, 62))
    return bike


def motorcycle(
    canvas: Canvas, rng: np.random.Generator, x: float, z: float, heading: tuple[float, float], dark: float
) -> Frame:
    """Two fat wheels under a solid engine, tank, seat, exhaust and lamp. Returns its frame."""
    bike = Frame(canvas, canvas.new_id("motorcycle"), x, z, heading)
    color = draw_color(rng, 0.25)
    bike.shadow(1.2, 0.35, dark)
    for a in (-0.75, 0.75):
        bike.fill(disc(a, 0.34, 0.36), RUBBER)
        bike.paint(disc(a, 0.34, 0.2, 14), STEEL)
        bike.paint(disc(a, 0.34, 0.1, 10), (60, 60, 64))
    bike.fill(np.array([(-0.5, 0.25), (0.4, 0.25), (0.45, 0.7), (-0.5, 0.7)]), (62, 62, 66))
    bike.paint(np.array([rect(-0.1, 0.25, y, y + 0.05) for y in (0.35, 0.45, 0.55)]), (135, 135, 140))
    bike.stroke(np.array([(0.75, 0.34), (0.45, 1.0)]), STEEL, 0.1)
    bike.fill(np.array([(-0.1, 0.7), (0.4, 0.7), (0.48, 0.98), (0.1, 1.02), (-0.1, 0.85)]), color)
    bike.fill(np.array([(-1.05, 0.86), (-0.95, 0.72), (-0.1, 0.68), (-0.1, 0.86), (-0.5, 0.84)]), (32, 30, 30))
    bike.fill(np.array([(-1.1, 0.66), (-0.95, 0.78), (-0.55, 0.76), (-0.5, 0.62)]), color)
    bike.fill(np.array([(0.4, 0.68), (1.1, 0.66), (0.95, 0.76), (0.6, 0.78)]), color)
    bike.stroke(np.array([(-0.95, 0.3), (-0.1, 0.26)]), (190, 190, 195), 0.12)
    bike.fill(disc(0.58, 0.92, 0.13, 12), (250, 245, 215))
    bike.stroke(np.array([(0.45, 1.0), (0.3, 1.14)]), (40, 40, 42), 0.07)
    return bike


def cyclist(
    canvas: Canvas, rng: np.random.Generator, x: float, z: float, heading: tuple[float, float], dark: float
) -> None:
    """A rider on a bicycle."""
    bike = bicycle(canvas, rng, x, z, heading, dark)
    _rider(
        bike, rng, hip=(-0.26, 1.02), shoulder=(0.08, 1.52), hands=(0.44, 1.06), knee=(0.12, 0.78), foot=(-0.02, 0.24)
    )


def biker(
    canvas: Canvas, rng: np.random.Generator, x: float, z: float, heading: tuple[float, float], dark: float
) -> None:
    """A rider on a motorcycle."""
    bike = motorcycle(canvas, rng, x, z, heading, dark)
    _rider(bike, rng, hip=(-0.35, 0.92), shoulder=(-0.15, 1.5), hands=(0.32, 1.14), knee=(0.1, 0.8), foot=(-0.12, 0.3))


def _rider(
    bike: Frame, rng: np.random.Generator, hip: tuple, shoulder: tuple, hands: tuple, knee: tuple, foot: tuple
) -> None:
    """A seated body that leans to the handlebar, under a helmet."""
    body = Frame(bike.canvas, bike.canvas.new_id("rider"), bike.x, bike.z, bike.heading)
    top, legs, helmet = (215, 235, 40) if rng.random() < 0.5 else (250, 125, 30), _trousers(rng), draw_color(rng, 0.3)
    skin = SKIN[rng.choice(len(SKIN))]
    back = (knee[0] + 0.08, knee[1] + 0.14), (foot[0] + 0.14, foot[1] + 0.24)
    body.stroke(np.array([hip, *back]), scaled(legs, 0.7), 0.16)
    body.stroke(np.array([hip, knee, foot]), legs, 0.19)
    body.stroke(np.array([foot, (foot[0] + 0.16, foot[1] - 0.02)]), (35, 30, 28), 0.11)
    body.stroke(np.array([hip, shoulder]), top, 0.36)
    spine = np.subtract(shoulder, hip)
    across, center = 0.35 * np.array([spine[1], -spine[0]]), np.add(hip, 0.55 * spine)
    bands = [center + a * across + b * spine for a, b in ((-1, -0.1), (1, -0.1), (1, 0.1), (-1, 0.1))]
    body.paint(np.array(bands), (235, 235, 235))
    elbow = ((shoulder[0] + hands[0]) / 2 - 0.02, (shoulder[1] + hands[1]) / 2 - 0.1)
    body.stroke(np.array([(shoulder[0], shoulder[1] - 0.05), elbow, hands]), scaled(top, 0.8), 0.13)
    body.fill(disc(*hands, 0.07, 8), skin)
    head = shoulder[0] + 0.12, shoulder[1] + 0.27
    body.stroke(np.array([shoulder, head]), skin, 0.14)
    body.fill(disc(*head, 0.16, 14), helmet)
    body.paint(
        np.array(
            [
                (head[0] + 0.02, head[1] + 0.02),
                (head[0] + 0.17, head[1]),
                (head[0] + 0.12, head[1] - 0.15),
                (head[0], head[1] - 0.14),
            ]
        ),
        skin,
    )
