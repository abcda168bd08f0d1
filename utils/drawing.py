"""Pictures of predictions: overlays, error maps, rows of them; all RGB (H,W,3) uint8."""

import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from utils.files import write_atomically

SMOOTH = 3  # effort for maps of confidence: more takes twice as long and saves 5 %
WRONG = (230, 40, 40)  # colour of wrong pixels in error maps


def overlay(image: np.ndarray, colors: np.ndarray, opacity: float = 0.5) -> np.ndarray:
    """Blend a class-colour picture over an image of the same size; `opacity` of the colours, 0 to 1."""
    return cv2.addWeighted(image, 1 - opacity, colors, opacity, 0)


def error_map(image: np.ndarray, prediction: np.ndarray, label: np.ndarray, ignore_label: int) -> np.ndarray:
    """The image in dim grey, wrong pixels red, ignored ones black.

    Args:
        image: (H,W,3) uint8.
        prediction: Train ids (H,W).
        label: Train ids (H,W).
        ignore_label: Label that isn't scored.
    """
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) // 2 + 40
    picture = np.repeat(gray[..., None], 3, axis=2)
    picture[(prediction != label) & (label != ignore_label)] = WRONG
    picture[label == ignore_label] = 0
    return picture


def confidence_levels(confidence: np.ndarray) -> np.ndarray:
    """Probabilities (H,W) -> (H,W) uint16, 65535 for 1, rounded."""
    return (confidence.astype(np.float64) * 65535).round().astype(np.uint16)


def uncertainty_overlay(image: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """The image in dim grey, the less sure the brighter: purple, orange, yellow; `confidence` (H,W) from 0 to 1."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) // 2
    heat = cv2.applyColorMap((255 * (1 - confidence)).round().astype(np.uint8), cv2.COLORMAP_INFERNO)
    return cv2.add(np.repeat(gray[..., None], 3, axis=2), heat[..., ::-1])


def side_by_side(pictures: Sequence[np.ndarray], gap: int = 4) -> np.ndarray:
    """Pictures of one height in a row, with white gaps."""
    parts = []
    for picture in pictures:
        parts += [picture, np.full((picture.shape[0], gap, 3), 255, np.uint8)]
    return np.concatenate(parts[:-1], axis=1)


def save_png(path: str | Path, picture: np.ndarray, effort: int = -1) -> None:
    """Write (H,W,3) RGB or (H,W), 8 or 16 bits, as PNG, atomically; `effort` is zlib's, 0 to 9, -1: its default."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", compress_level=effort)
    write_atomically(path, lambda file: file.write(buffer.getvalue()))
