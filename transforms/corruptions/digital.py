"""Contrast, elastic distortion, pixelation and JPEG compression."""

import io

import cv2
import numpy as np
from PIL import Image

from transforms.corruptions.filters import RGB, gaussian, to_levels


def contrast(image: RGB, strength: int, rng: np.random.Generator) -> RGB:
    """Draws the values of each channel together, towards their mean."""
    kept = (0.4, 0.3, 0.2, 0.1, 0.05)[strength - 1]
    means = np.array(cv2.mean(image)[:3], np.float32)
    return to_levels((image - means) * np.float32(kept) + means)


def elastic_transform(image: RGB, strength: int, rng: np.random.Generator) -> RGB:
    """Moves each pixel by smooth random noise; the label stays, as the moves are small: see docs/robustness.md."""
    alpha = 250 * (0.05, 0.065, 0.085, 0.1, 0.12)[strength - 1]
    height, width = image.shape[:2]
    sigmas, most = (0.01 * height, 0.01 * width), 0.005 * height
    moves = [rng.uniform(-most, most, (height, width)) for _ in range(2)]
    right, down = (alpha * gaussian(move, sigmas, 3, cv2.BORDER_REFLECT) for move in moves)
    x, y = (np.arange(width) + right).astype(np.float32), (np.arange(height)[:, None] + down).astype(np.float32)
    return to_levels(cv2.remap(image.astype(np.float32), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT))


def pixelate(image: RGB, strength: int, rng: np.random.Generator) -> RGB:
    """Means over boxes, enlarged without interpolation."""
    scale = (0.6, 0.5, 0.4, 0.3, 0.25)[strength - 1]
    height, width = image.shape[:2]
    small = Image.fromarray(image).resize(
        (max(1, int(width * scale)), max(1, int(height * scale))), Image.Resampling.BOX
    )
    return np.array(small.resize((width, height), Image.Resampling.NEAREST))


def jpeg_compression(image: RGB, strength: int, rng: np.random.Generator) -> RGB:
    """Written and read as a JPEG of low quality."""
    quality = (25, 18, 15, 10, 7)[strength - 1]
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.array(Image.open(buffer, formats=["JPEG"]))
