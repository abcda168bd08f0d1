"""Gaussian, shot and impulse noise: of a sensor in poor light, of counted photons, of broken pixels."""

import numpy as np

from transforms.corruptions.filters import RGB, to_levels


def gaussian_noise(image: RGB, strength: int, rng: np.random.Generator) -> RGB:
    """Adds normal noise of one standard deviation to every value."""
    scale = (0.08, 0.12, 0.18, 0.26, 0.38)[strength - 1]
    return to_levels(image + 255 * rng.normal(size=image.shape, scale=scale))


def shot_noise(image: RGB, strength: int, rng: np.random.Generator) -> RGB:
    """Poisson noise: so many photons make white."""
    photons = (60, 25, 12, 5, 3)[strength - 1]
    return to_levels(rng.poisson(image / 255 * photons) * (255 / photons))


def impulse_noise(image: RGB, strength: int, rng: np.random.Generator) -> RGB:
    """Sets some values to 0 or 255 (salt and pepper, each channel by itself)."""
    amount = (0.03, 0.06, 0.09, 0.17, 0.27)[strength - 1]
    hit, salted = rng.random(image.shape) <= amount, rng.random(image.shape) <= 0.5
    return np.where(hit, np.where(salted, np.uint8(255), np.uint8(0)), image)
