"""Augmentation that moves pixels: image and label alike."""

import cv2
import numpy as np

from transforms.parameters import AugmentParams
from transforms.resampling import nearest_window, resize_window
from utils.constants import IGNORE_LABEL

PAD_COLOR = 0  # black


def move_pixels(sample: dict, augmentation: AugmentParams) -> dict:
    """Scales, crops, turns and flips; image bicubic (antialiased), label nearest, outside black and ignored.

    Args:
        sample: `image` uint8 (H,W,3) and `label` uint8 (H,W); neither is changed.
        augmentation: What is to be done.

    Returns:
        The sample with both at the crop's size.
    """
    source = augmentation.surrounded if augmentation.angle else augmentation
    scaled, window = source.scaled, source.window
    image = _pad(resize_window(sample["image"], scaled, window), source, PAD_COLOR)
    label = _pad(nearest_window(sample["label"], scaled, window), source, IGNORE_LABEL)
    if augmentation.angle:
        image = _turn(image, augmentation, cv2.INTER_CUBIC)
        label = _turn(label, augmentation, cv2.INTER_NEAREST)
    if augmentation.flip:
        image, label = cv2.flip(image, 1), cv2.flip(label, 1)
    return sample | {"image": image, "label": label}


def _turn(seen: np.ndarray, augmentation: AugmentParams, interpolation: int) -> np.ndarray:
    """The crop of what is `seen` around it, turned about the centre that both have."""
    (height, width), crop = seen.shape[:2], augmentation.crop
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), augmentation.angle, 1.0)
    matrix[:, 2] -= (width - crop[1]) / 2, (height - crop[0]) / 2
    return cv2.warpAffine(seen, matrix, crop[::-1], flags=interpolation, borderMode=cv2.BORDER_REPLICATE)


def _pad(seen: np.ndarray, augmentation: AugmentParams, fill: int) -> np.ndarray:
    """The whole crop, with what is `seen` of the image in its place."""
    if seen.shape[:2] == augmentation.crop:
        return seen
    crop = np.full((*augmentation.crop, *seen.shape[2:]), fill, np.uint8)
    crop[augmentation.shown] = seen
    return crop
