"""Colours and light of the synthetic street scenes."""

import colorsys
from dataclasses import dataclass

import numpy as np

from datasets.synthetic.canvas import Color

SKIN = ((236, 196, 170), (214, 164, 130), (170, 118, 86), (112, 76, 54), (78, 54, 42))


@dataclass(frozen=True)
class Mood:
    """The light of a scene.

    Args:
        gains: Factor on R, G and B: exposure, white balance and tint.
        zenith: Colour of the sky at the top.
        haze: Colour of the sky at the horizon, and of far things.
        visibility: Distance in metres at which half of a colour is haze.
        cloud: Strength of the clouds, 0 to 1.
        shadow: Factor on what lies in a shadow.
        sun: -1 where the sun stands on the left, 1 on the right.
        blur: Standard deviation of the lens blur in pixels, for an image 256 pixels high; grows with its square root.
        noise: Standard deviation of the sensor noise, in grey levels.
    """

    gains: Color
    zenith: Color
    haze: Color
    visibility: float
    cloud: float
    shadow: float
    sun: int
    blur: float
    noise: float


def draw_mood(rng: np.random.Generator) -> Mood:
    """Sun, overcast or dusk, each with its own spread."""
    kind = rng.choice(3, p=[0.45, 0.4, 0.15])
    if kind == 0:
        zenith, haze = _between(rng, (70, 110, 190), (130, 180, 235)), _between(rng, (170, 190, 205), (230, 235, 240))
        exposure, shadow, cloud = rng.uniform(0.88, 1.12), rng.uniform(0.45, 0.65), rng.uniform(0.2, 1)
    elif kind == 1:
        zenith, haze = _between(rng, (140, 145, 155), (215, 218, 220)), _between(rng, (180, 182, 185), (235, 235, 235))
        exposure, shadow, cloud = rng.uniform(0.75, 1.05), rng.uniform(0.65, 0.85), rng.uniform(0.3, 1)
    else:
        zenith, haze = _between(rng, (60, 70, 110), (120, 120, 160)), _between(rng, (190, 130, 90), (240, 190, 160))
        exposure, shadow, cloud = rng.uniform(0.65, 0.9), rng.uniform(0.6, 0.8), rng.uniform(0.2, 0.9)
    balance = rng.uniform(0.91, 1.09, 3)
    return Mood(
        gains=tuple(exposure * balance),
        zenith=zenith,
        haze=haze,
        visibility=rng.uniform(80, 400),
        cloud=cloud,
        shadow=shadow,
        sun=int(rng.choice([-1, 1])),
        blur=rng.uniform(0.3, 0.7),
        noise=rng.uniform(2, 5),
    )


def draw_grey(rng: np.random.Generator, low: float, high: float, tint: float = 8) -> Color:
    """A near-grey; `tint` is the standard deviation of each channel."""
    return tuple(rng.uniform(low, high) + rng.normal(0, tint, 3))


def draw_color(rng: np.random.Generator, grey: float = 0.45) -> Color:
    """Any colour that paint or cloth can have; a near-grey with the probability `grey`."""
    if rng.random() < grey:
        return draw_grey(rng, 25, 235)
    red, green, blue = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.25, 0.85), rng.uniform(0.25, 0.95))
    return (255 * red, 255 * green, 255 * blue)


def draw_vivid(rng: np.random.Generator) -> Color:
    """A strong colour."""
    red, green, blue = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.6, 0.95), rng.uniform(0.5, 0.95))
    return (255 * red, 255 * green, 255 * blue)


def draw_leaf(rng: np.random.Generator) -> Color:
    """From dark green to the yellow and brown of autumn."""
    season = rng.random()
    if season < 0.75:
        return mixed((40, 75, 35), (125, 150, 70), rng.random())
    return mixed((120, 75, 40), (190, 150, 60), rng.random())


def scaled(color: Color, factor: float) -> Color:
    """The colour made darker or lighter."""
    return tuple(c * factor for c in color)


def mixed(first: Color, second: Color, share: float) -> Color:
    """`share` of the second colour in the first."""
    return tuple(a * (1 - share) + b * share for a, b in zip(first, second, strict=True))


def _between(rng: np.random.Generator, low: Color, high: Color) -> Color:
    share = rng.random()
    return mixed(low, high, share)
