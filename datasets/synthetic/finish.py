"""Texture, light, lens and sensor: from the flat colours of a synthetic scene to its photograph."""

from functools import lru_cache

import cv2
import numpy as np

from datasets.cityscapes import CLASSES
from datasets.synthetic.colors import Mood

# how strongly each field below modulates a class's brightness, in 0..1; classes not named, and ignored pixels,
# have the default
_FIELDS = ("grain", "leaf", "blade", "stain")
_TEXTURE = {
    "road": (0.10, 0, 0, 0.10),
    "sidewalk": (0.04, 0, 0, 0.08),
    "building": (0.03, 0, 0, 0.10),
    "wall": (0.06, 0, 0, 0.12),
    "fence": (0.03, 0.10, 0, 0.06),
    "vegetation": (0.08, 0.45, 0, 0.12),
    "terrain": (0.06, 0, 0.42, 0.15),
    "sky": (0, 0, 0, 0),
    "person": (0.12, 0.12, 0, 0.1),
    "rider": (0.03, 0, 0, 0.1),
}
_DEFAULT = (0.02, 0, 0, 0.10)
_WEIGHTS = np.zeros((256, len(_FIELDS)), np.float32)
_WEIGHTS[:] = _DEFAULT
for _train_id, _name in enumerate(CLASSES.names):
    _WEIGHTS[_train_id] = _TEXTURE.get(_name, _DEFAULT)
_WEIGHTS /= 128


@lru_cache(maxsize=2)
def _fields(height: int, width: int) -> dict[str, np.ndarray]:
    """The same random fields for every scene of this size, (2H,2W) int8; scenes shift them.

    Each is tiled twice both ways, so that a window of it wraps around. They are made on a grid of 256 rows and
    enlarged, so that a scene has the same texture at any size.
    """
    rng = np.random.Generator(np.random.PCG64(20200217))
    rows, cols = 256, max(1, round(256 * width / height))
    noise = {name: rng.integers(0, 256, (rows, cols), np.uint8) for name in ("grain", "leaf", "blade")}
    fields = {  # uint8, 128 is neutral
        "grain": noise["grain"],
        "leaf": _stretch(cv2.GaussianBlur(noise["leaf"], (7, 7), 1.1), 3.0),
        "blade": _stretch(cv2.GaussianBlur(noise["blade"], (3, 9), 0.5, sigmaY=2.2), 2.5),
        "stain": _clouds(rng, rows, cols, (3, 8)),
        "cloud": _clouds(rng, rows, cols, (2, 5, 12, 30)),
    }
    size = (width, height)
    fields = {name: cv2.resize(field, size, interpolation=cv2.INTER_LINEAR_EXACT) for name, field in fields.items()}
    fields = {name: (field ^ 128).view(np.int8) for name, field in fields.items()}
    fields["noise"] = (rng.standard_normal((height, width, 3), np.float32) * 32).clip(-127, 127).astype(np.int8)
    return {name: np.concatenate([np.concatenate([f, f])] * 2, 1) for name, f in fields.items()}


def cloud_field(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Soft random blotches (H,W) int8."""
    return _shifted(rng, _fields(height, width)["cloud"])


def finish(image: np.ndarray, train_ids: np.ndarray, mood: Mood, rng: np.random.Generator) -> np.ndarray:
    """Texture by class, the mood's light, lens blur, sensor noise.

    Args:
        image: (H,W,3) uint8, flat colours.
        train_ids: (H,W) uint8.
        mood: Light, blur and noise.
        rng: Shifts the textures and makes the noise.

    Returns:
        (H,W,3) uint8.
    """
    fields = _fields(*train_ids.shape)
    factor = np.ones(train_ids.shape, np.float32)
    for column, name in enumerate(_FIELDS):
        weight = cv2.LUT(train_ids, _WEIGHTS[:, column].copy())
        weight *= _shifted(rng, fields[name])
        factor += weight
    lit = image * factor[..., None]
    lit *= np.float32(mood.gains)
    sharp = np.minimum(lit, 255, out=lit).astype(np.uint8)
    soft = cv2.GaussianBlur(sharp, (0, 0), mood.blur * (image.shape[0] / 256) ** 0.5)
    noise = _shifted(rng, fields["noise"]) * np.int16(mood.noise * 8)  # both in fractions: 32 * 8 = 256
    noise >>= 8
    noise += soft
    return np.clip(noise, 0, 255).astype(np.uint8)


def _shifted(rng: np.random.Generator, field: np.ndarray) -> np.ndarray:
    """A random window (H,W,...) of a field that is tiled twice both ways, perhaps mirrored."""
    height, width = field.shape[0] // 2, field.shape[1] // 2
    top, left = (int(share * size) for share, size in zip(rng.random(2), (height, width), strict=True))
    window = field[top : top + height, left : left + width]
    return window[:, ::-1] if rng.random() < 0.5 else window


def _stretch(field: np.ndarray, contrast: float) -> np.ndarray:
    return np.clip((field.astype(np.int16) - 128) * contrast + 128, 0, 255).astype(np.uint8)


def _clouds(rng: np.random.Generator, rows: int, cols: int, octaves: tuple[int, ...]) -> np.ndarray:
    """Sum of smooth noises of ever finer grain and ever less strength, (rows,cols) uint8, seamless when tiled."""
    total = np.zeros((rows, cols), np.float32)
    for level, cells in enumerate(octaves):
        coarse = rng.integers(0, 256, (cells, max(2, cells * cols // rows)), np.uint8)
        tiled = cv2.resize(np.tile(coarse, (3, 3)), (3 * cols, 3 * rows), interpolation=cv2.INTER_LINEAR_EXACT)
        smooth = cv2.GaussianBlur(tiled, (0, 0), rows / cells / 4)[rows : 2 * rows, cols : 2 * cols]
        total += (smooth.astype(np.float32) - 128) / 1.7**level
    return np.clip(total + 128, 0, 255).astype(np.uint8)
