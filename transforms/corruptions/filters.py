"""What several corruptions are made of: Gaussian and motion blur, enlargement, and the way back to levels."""

import math

import cv2
import numpy as np

RGB = np.ndarray  # uint8 (H,W,3)
WHOLE = 1e-3  # for values that float32 leaves just below a whole level


def to_levels(values: np.ndarray) -> RGB:
    """Floats (H,W,3) of 0 to 255 -> uint8, clipped, fractions cut off as in the published code."""
    return np.clip(values + WHOLE, 0, 255).astype(np.uint8)


def gaussian(values: np.ndarray, sigmas: tuple[float, float], truncate: float, border: int) -> np.ndarray:
    """Floats (H,W) or (H,W,C) blurred with standard deviations (y, x) in pixels, cut off at `truncate` of them."""
    sides = [2 * int(truncate * sigma + 0.5) + 1 for sigma in sigmas]
    return cv2.GaussianBlur(values, sides[::-1], sigmaX=sigmas[1], sigmaY=sigmas[0], borderType=border)


def motion_blur(values: np.ndarray, radius: int, sigma: float, angle: float) -> np.ndarray:
    """Floats (H,W) or (H,W,C) smeared to one side along a line; edges are repeated.

    Args:
        values: The picture.
        radius: The line has 2 radius + 1 taps, a pixel apart.
        sigma: Standard deviation of the taps' weights, half a Gaussian, in pixels.
        angle: Of the line, degrees.
    """
    taps = np.arange(2 * radius + 1)
    weights = np.exp(-(taps**2) / (2 * sigma**2))
    weights /= weights.sum()
    direction = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    kernel = np.zeros((4 * radius + 3, 4 * radius + 3), np.float32)
    for tap, weight in zip(taps.tolist(), weights, strict=True):
        down, right = (-math.ceil(tap * part - 0.5) for part in direction)
        if abs(down) >= values.shape[0] or abs(right) >= values.shape[1]:
            break  # the line leaves the picture
        kernel[2 * radius + 1 - down, 2 * radius + 1 - right] += weight
    return cv2.filter2D(values, -1, kernel, borderType=cv2.BORDER_REPLICATE)


def enlarge(values: np.ndarray, factor: float) -> np.ndarray:
    """The middle of a float picture (H,W) or (H,W,C), enlarged bilinearly to at least (H,W)."""
    kept = [math.ceil(length / factor) for length in values.shape[:2]]
    first = [(length - part) // 2 for length, part in zip(values.shape, kept, strict=False)]
    sizes = [round(part * factor) for part in kept]
    steps = [(part - 1) / max(1, size - 1) for part, size in zip(kept, sizes, strict=True)]  # corners stay corners
    matrix = np.array([[steps[1], 0, first[1]], [0, steps[0], first[0]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(values, matrix, sizes[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)
