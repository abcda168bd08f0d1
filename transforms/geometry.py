"""Augmentation that moves pixels: image and label alike."""

import cv2
import numpy as np

from transforms.parameters import AugmentParams
from transforms.resampling import nearest_window, resize_window
from utils.constants import IGNORE_LABEL

PAD_COLOR = 0  # black


def move_pixels(sample: dict, augmentation: AugmentParams) -> dict:
    """Scales, crops and flips; image bicubic (antialiased), label nearest, outside black and ignored.

    Args:
        sample: `image` uint8 (H,W,3) and `label` uint8 (H,W); neither is changed.
        augmentation: What is to be done.

    Returns:
        The sample with both at the crop's size.
    """
    scaled, window = augmentation.scaled, augmentation.window
    image = _pad(resize_window(sample["image"], scaled, window), augmentation, PAD_COLOR)
    label = _pad(nearest_window(sample["label"], scaled, window), augmentation, IGNORE_LABEL)
    if augmentation.flip:
        image, label = cv2.flip(image, 1), cv2.flip(label, 1)
    return sample | {"image": image, "label": label}


def _pad(seen: np.ndarray, augmentation: AugmentParams, fill: int) -> np.ndarray:
    """The whole crop, with what is `seen` of the image in its place."""
    if seen.shape[:2] == augmentation.crop:
        return seen
    crop = np.full((*augmentation.crop, *seen.shape[2:]), fill, np.uint8)
    crop[augmentation.shown] = seen
    return crop
