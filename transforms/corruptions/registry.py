"""The corruptions by name, and the random numbers of an image."""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from transforms.corruptions import blur, digital, noise, weather
from transforms.corruptions.filters import RGB
from utils.errors import OptionError

Corruption = Callable[[RGB, int, np.random.Generator], RGB]
"""Image uint8 (H,W,3) of any size, strength, random numbers -> a new image of the same size."""
STRENGTHS = (1, 2, 3, 4, 5)
CORRUPTIONS: dict[str, Corruption] = {
    "gaussian_noise": noise.gaussian_noise,
    "shot_noise": noise.shot_noise,
    "impulse_noise": noise.impulse_noise,
    "defocus_blur": blur.defocus_blur,
    "glass_blur": blur.glass_blur,
    "motion_blur": blur.moving_camera,
    "zoom_blur": blur.zoom_blur,
    "snow": weather.snow,
    "frost": weather.frost,
    "fog": weather.fog,
    "brightness": weather.brightness,
    "contrast": digital.contrast,
    "elastic_transform": digital.elastic_transform,
    "pixelate": digital.pixelate,
    "jpeg_compression": digital.jpeg_compression,
}
_NAMES = list(CORRUPTIONS)
GROUPS = {"noise": _NAMES[:3], "blur": _NAMES[3:7], "weather": _NAMES[7:11], "digital": _NAMES[11:]}


def corrupt(image: RGB, name: str, strength: int, rng: np.random.Generator) -> RGB:
    """The image, uint8 (H,W,3), as a new one with a corruption of a strength of 1 to 5."""
    return CORRUPTIONS[name](image, strength, rng)


def image_rng(image: str, corruption: str, strength: int) -> np.random.Generator:
    """All randomness of a corrupted image: it follows from the names and the strength alone."""
    text = f"{corruption} {strength} {image}".encode("utf-8", "surrogateescape")
    return np.random.default_rng(np.frombuffer(hashlib.sha256(text).digest(), np.uint32))


def check_names(flag: str, names: Sequence[str]) -> None:
    """Raises `OptionError` unless each is a corruption, and occurs once."""
    wrong = [name for name in names if name not in CORRUPTIONS]
    if wrong or not names:
        said = f"no corruption is called {', '.join(wrong)}" if wrong else "none is named"
        raise OptionError(f"{flag} {','.join(names)}: {said}; there are {', '.join(CORRUPTIONS)}")
    if len(set(names)) < len(names):
        raise OptionError(f"{flag} {','.join(names)}: one is named twice")
