"""Colour jitter against Pillow's, and both blurs."""

import cv2
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from reference.transforms import adjust_hue as pillow_hue
from reference.transforms import gaussian
from transforms import color
from transforms.parameters import AugmentParams


@pytest.fixture(scope="module")
def image():
    """A smooth picture of all hues with noise, extremes included."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (8, 10, 3)).astype(np.uint8)
    smooth = cv2.resize(coarse, (100, 80), interpolation=cv2.INTER_CUBIC)
    smooth[:5, :5], smooth[-5:, -5:] = 0, 255
    return smooth


def difference(first, second):
    return np.abs(np.asarray(first).astype(int) - np.asarray(second).astype(int))


@pytest.mark.parametrize("factor", [0.0, 0.5, 0.75, 1.0, 1.25, 1.8])
@pytest.mark.parametrize(
    ("adjust", "enhancer", "levels"),
    [
        (color.adjust_brightness, ImageEnhance.Brightness, 0),
        (color.adjust_contrast, ImageEnhance.Contrast, 1),
        (color.adjust_saturation, ImageEnhance.Color, 1),
    ],
)
def test_brightness_contrast_and_saturation_are_pillow_s(image, adjust, enhancer, levels, factor):
    expected = enhancer(Image.fromarray(image)).enhance(factor)
    assert difference(adjust(image, factor), expected).max() <= levels


@pytest.mark.parametrize("shift", [-0.5, -0.25, -0.1, 0.0, 0.03, 0.25, 0.5])
def test_hue_turns_as_pillow_s(image, shift):
    colors = np.random.default_rng(1).integers(0, 256, (200, 300, 3)).astype(np.uint8)
    for picture in (image, colors):
        levels = difference(color.adjust_hue(picture, shift), pillow_hue(Image.fromarray(picture), shift))
        assert levels.max() <= 6 and (levels > 2).mean() < 5e-4  # a hue on a border of Pillow's steps: 6 levels


def test_hue_turns_red_into_green_and_leaves_grey():
    red, gray = np.full((2, 2, 3), (255, 0, 0), np.uint8), np.full((2, 2, 3), 99, np.uint8)
    assert difference(color.adjust_hue(red, 1 / 3), (0, 255, 0)).max() <= 4
    assert np.array_equal(color.adjust_hue(gray, 0.2), gray)


@pytest.mark.parametrize("sigma", [0.15, 0.5, 0.9, 1.3])
def test_the_gaussian_is_that_of_its_formula(image, sigma):
    assert np.abs(color.blur_gaussian(image, sigma) - gaussian(image.astype(float), sigma)).max() <= 1.1


def test_the_bilateral_blur_smooths_noise_and_keeps_edges():
    rng = np.random.default_rng(0)
    step = np.zeros((40, 40, 3), np.uint8)
    step[:, 20:] = 200
    noisy = (step + rng.integers(0, 20, step.shape)).astype(np.uint8)
    out = color.blur_bilateral(noisy, 0.75).astype(int)
    assert out[:, :18].std() < 0.7 * noisy[:, :18].std()
    assert (out[:, 20] - out[:, 19]).min() > 140


def test_steps_are_done_in_their_order_and_leave_the_image_alone(image):
    before, steps = image.copy(), (("brightness", 1.4), ("hue", 0.2), ("contrast", 0.7), ("saturation", 1.3))
    sizes = {"size": (80, 100), "scaled": (80, 100), "crop": (80, 100), "corner": (0, 0)}
    out = color.change_colors(image, AugmentParams(**sizes, jitter=steps, blur="gaussian", sigma=0.8))
    expected = image
    for name, amount in steps:
        expected = getattr(color, f"adjust_{name}")(expected, amount)
    assert np.array_equal(out, color.blur_gaussian(expected, 0.8))
    assert not np.array_equal(out, color.change_colors(image, AugmentParams(**sizes, jitter=steps[::-1])))
    assert np.array_equal(image, before)
