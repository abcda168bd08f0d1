"""Augmentation that changes colours and sharpness of the image; the label stays."""

import math

import cv2
import numpy as np

from utils.errors import OptionError

RGB = np.ndarray  # uint8 (H,W,3)


def adjust_brightness(image: RGB, factor: float) -> RGB:
    """Image times `factor`: 0 is black, 1 the image; as `PIL.ImageEnhance.Brightness`."""
    return cv2.LUT(image, _blend_table(0, factor))


def adjust_contrast(image: RGB, factor: float) -> RGB:
    """Blends with the mean grey: 0 is grey, 1 the image; as `PIL.ImageEnhance.Contrast`."""
    mean = int(cv2.mean(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[0] + 0.5)
    return cv2.LUT(image, _blend_table(mean, factor))


def adjust_saturation(image: RGB, factor: float) -> RGB:
    """Blends with the grey image: 0 is grey, 1 the image; as `PIL.ImageEnhance.Color`, at most 1 level off."""
    gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(image, factor, gray, 1 - factor, 0)


def adjust_hue(image: RGB, shift: float) -> RGB:
    """Turns the hue by `shift` of a full turn, through 8-bit HSV as torchvision does on PIL images."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
    hsv[..., 0] += np.uint8(round(shift * 256) % 256)  # wraps around
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL)


def _blend_table(base: int, factor: float) -> np.ndarray:
    """Look-up table uint8 (256,) of base + factor x (value - base), cut off like PIL's."""
    return np.clip(base + factor * (np.arange(256) - base), 0, 255).astype(np.uint8)


class ColorJitter:
    """Random brightness, contrast, saturation and hue, in random order.

    Args:
        strength: Factors are uniform in [1 - strength, 1 + strength] (not below 0); the hue turns by a share of the
            circle uniform in [-strength, strength] (at most half a turn).

    Raises:
        OptionError: `strength` is negative.
    """

    def __init__(self, strength: float) -> None:
        if not 0 <= strength < math.inf:
            raise OptionError(f"--color_aug {strength}: must not be negative; 0 switches it off")
        self.factors = (max(0.0, 1 - strength), 1 + strength)
        self.shifts = (-min(strength, 0.5), min(strength, 0.5))

    def __call__(self, sample: dict, rng: np.random.Generator) -> dict:
        """`image` uint8 (H,W,3) -> the same."""
        steps = [
            (adjust_brightness, rng.uniform(*self.factors)),
            (adjust_contrast, rng.uniform(*self.factors)),
            (adjust_saturation, rng.uniform(*self.factors)),
            (adjust_hue, rng.uniform(*self.shifts)),
        ]
        image = sample["image"]
        for i in rng.permutation(len(steps)):
            adjust, amount = steps[i]
            image = adjust(image, amount)
        return sample | {"image": image}


class RandomGaussianBlur:
    """Gaussian blur with a random sigma, cut off at four sigmas; edge pixels are repeated outwards.

    Args:
        sigma_min: Least sigma in pixels; sigmas are uniform.
        sigma_max: Greatest sigma.
    """

    def __init__(self, sigma_min: float = 0.15, sigma_max: float = 1.30) -> None:
        self.sigmas = (sigma_min, sigma_max)

    def __call__(self, sample: dict, rng: np.random.Generator) -> dict:
        """`image` uint8 (H,W,3) -> the same."""
        sigma = rng.uniform(*self.sigmas)
        side = 2 * int(4 * sigma + 0.5) + 1
        blurred = cv2.GaussianBlur(sample["image"], (side, side), sigma, borderType=cv2.BORDER_REPLICATE)
        return sample | {"image": blurred}


class RandomBilateralBlur:
    """Edge-preserving blur with a random spatial sigma; the range sigma is the image's standard deviation.

    Args:
        sigma_min: Least spatial sigma in pixels; sigmas are uniform.
        sigma_max: Greatest spatial sigma.
    """

    def __init__(self, sigma_min: float = 0.05, sigma_max: float = 0.75) -> None:
        self.sigmas = (sigma_min, sigma_max)

    def __call__(self, sample: dict, rng: np.random.Generator) -> dict:
        """`image` uint8 (H,W,3) -> the same."""
        sigma = rng.uniform(*self.sigmas)
        side = max(5, 2 * math.ceil(3 * sigma) + 1)
        return sample | {"image": cv2.bilateralFilter(sample["image"], side, float(sample["image"].std()), sigma)}
