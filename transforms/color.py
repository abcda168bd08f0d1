"""Augmentation that changes colours and sharpness of the image; the label stays."""

import math

import cv2
import numpy as np

from transforms.corruptions import corrupt
from transforms.parameters import AugmentParams

RGB = np.ndarray  # uint8 (H,W,3)
# Pillow cuts levels off where OpenCV rounds; the rest is for values that float32 leaves just below a whole number
CUT_OFF, WHOLE = -0.5, 2e-4


def adjust_brightness(image: RGB, factor: float) -> RGB:
    """Image times `factor`: 0 is black, 1 the image; as `PIL.ImageEnhance.Brightness`."""
    return cv2.LUT(image, _blend_table(0, factor))


def adjust_contrast(image: RGB, factor: float) -> RGB:
    """Blends with the mean grey: 0 is grey, 1 the image; as `PIL.ImageEnhance.Contrast`."""
    mean = int(cv2.mean(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[0] + 0.5)
    return cv2.LUT(image, _blend_table(mean, factor))


def adjust_saturation(image: RGB, factor: float) -> RGB:
    """Blends with the grey image: 0 is grey, 1 the image; as `PIL.ImageEnhance.Color`."""
    gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(image, factor, gray, 1 - factor, CUT_OFF + WHOLE)


def adjust_hue(image: RGB, shift: float) -> RGB:
    """Turns the hue by `shift` of a full turn, through 8-bit HSV as torchvision does on PIL images.

    Pillow's HSV has 255 steps to a turn and cuts off; OpenCV's has 256 and rounds, up to 14 levels away. So hue and
    saturation are computed in float and cut off here. A hue on the border of two steps may fall into the other one.
    """
    hsv = cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2HSV)  # 0 to 360, 0 to 1, 0 to 255
    to_levels = np.array([[255 / 360, 0, 0, WHOLE], [0, 255, 0, WHOLE], [0, 0, 1, WHOLE]])
    levels = np.arange(256)
    tables = [(levels + hue_steps(shift)) % 256 * (360 / 255), levels / 255, levels]
    hsv = cv2.LUT(cv2.transform(hsv, to_levels).astype(np.uint8), np.stack(tables, -1).astype(np.float32)[:, None])
    return cv2.convertScaleAbs(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))


def hue_steps(shift: float) -> int:
    """A shift in Pillow's steps of hue, cut off as torchvision does."""
    return int(shift * 255)


def _blend_table(base: int, factor: float) -> np.ndarray:
    """Look-up table uint8 (256,) of base + factor x (value - base), cut off like PIL's."""
    return np.clip(base + factor * (np.arange(256) - base), 0, 255).astype(np.uint8)


def blur_gaussian(image: RGB, sigma: float) -> RGB:
    """Gaussian blur, cut off at four sigmas; edge pixels are repeated outwards."""
    side = 2 * gaussian_radius(sigma) + 1
    return cv2.GaussianBlur(image, (side, side), sigma, borderType=cv2.BORDER_REPLICATE)


def gaussian_radius(sigma: float) -> int:
    """Pixels on each side of the centre that a Gaussian blur reads."""
    return int(4 * sigma + 0.5)


def blur_bilateral(image: RGB, sigma: float) -> RGB:
    """Edge-preserving blur with spatial `sigma`; the range sigma is the image's standard deviation."""
    side = max(5, 2 * math.ceil(3 * sigma) + 1)
    return cv2.bilateralFilter(image, side, float(image.std()), sigma)


ADJUST = {
    "brightness": adjust_brightness,
    "contrast": adjust_contrast,
    "saturation": adjust_saturation,
    "hue": adjust_hue,
}
BLUR = {"gaussian": blur_gaussian, "bilateral": blur_bilateral, "off": lambda image, sigma: image}


def change_colors(image: RGB, augmentation: AugmentParams) -> RGB:
    """Colour jitter in its order, then blur, then corruption; the image given is left as it was."""
    for name, amount in augmentation.jitter:
        image = ADJUST[name](image, amount)
    image = BLUR[augmentation.blur](image, augmentation.sigma)
    if augmentation.corruption is None:
        return image
    name, strength, seed = augmentation.corruption
    return corrupt(image, name, strength, np.random.default_rng(seed))
