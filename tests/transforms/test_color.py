"""Colour jitter against Pillow's, and both blurs."""

import cv2
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from transforms import color
from transforms.color import ColorJitter, RandomBilateralBlur, RandomGaussianBlur
from utils.errors import OptionError


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
        (color.adjust_saturation, ImageEnhance.Color, 2),
    ],
)
def test_brightness_contrast_and_saturation_are_pillow_s(image, adjust, enhancer, levels, factor):
    expected = enhancer(Image.fromarray(image)).enhance(factor)
    assert difference(adjust(image, factor), expected).max() <= levels


def exact_hue(image, shift):
    """The hue turned in float32; torchvision on PIL images rounds hue, saturation and value to 8 bits as we do."""
    hsv = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + 360 * shift) % 360
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255


def pillow_hue(image, shift):
    """What torchvision does with a PIL image: adds to the 8-bit hue, modulo 256."""
    hue, saturation, value = Image.fromarray(image).convert("HSV").split()
    turned = (np.asarray(hue).astype(int) + int(shift * 255)) % 256
    return Image.merge("HSV", (Image.fromarray(turned.astype(np.uint8)), saturation, value)).convert("RGB")


@pytest.mark.parametrize("shift", [-0.5, -0.25, -0.1, 0.0, 0.03, 0.25, 0.5])
def test_hue_turns_as_in_float_and_no_worse_than_pillow_s(image, shift):
    ours = np.abs(color.adjust_hue(image, shift) - exact_hue(image, shift))
    pillows = np.abs(np.asarray(pillow_hue(image, shift)) - exact_hue(image, shift))
    assert ours.max() < 12 and ours.mean() <= pillows.mean()


def test_hue_turns_red_into_green_and_leaves_grey():
    red, gray = np.full((2, 2, 3), (255, 0, 0), np.uint8), np.full((2, 2, 3), 99, np.uint8)
    assert difference(color.adjust_hue(red, 1 / 3), (0, 255, 0)).max() <= 4
    assert np.array_equal(color.adjust_hue(gray, 0.2), gray)


def test_jitter_draws_factors_and_shifts_from_their_ranges_in_any_order(image, monkeypatch):
    calls = []
    for name in ("brightness", "contrast", "saturation", "hue"):
        monkeypatch.setattr(
            color, f"adjust_{name}", lambda image, amount, name=name: calls.append((name, amount)) or image
        )
    for seed in range(300):
        ColorJitter(0.25)({"image": image}, np.random.default_rng(seed))
    for name, centre in (("brightness", 1), ("contrast", 1), ("saturation", 1), ("hue", 0)):
        amounts = np.array([amount for called, amount in calls if called == name]) - centre
        assert len(amounts) == 300
        assert -0.25 <= amounts.min() < -0.2 and 0.2 < amounts.max() <= 0.25 and abs(amounts.mean()) < 0.03
    orders = {tuple(name for name, _ in calls[i : i + 4]) for i in range(0, len(calls), 4)}
    assert len(orders) == 24


def test_strong_jitter_keeps_factors_from_zero_and_hue_within_half_a_turn():
    jitter = ColorJitter(1.5)
    assert jitter.factors == (0.0, 2.5) and jitter.shifts == (-0.5, 0.5)


@pytest.mark.parametrize("strength", [-0.1, float("nan")])
def test_a_strength_out_of_range_names_the_flag(strength):
    with pytest.raises(OptionError, match="--color_aug"):
        ColorJitter(strength)


def gaussian(image, sigma):
    """Separable convolution in float64, cut off at four sigmas, edges repeated."""
    radius = int(4 * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    weights /= weights.sum()
    values = image.astype(float)
    for axis in (0, 1):
        padding = [(radius, radius) if axis == i else (0, 0) for i in range(3)]
        padded = np.pad(values, padding, mode="edge")
        size = values.shape[axis]
        values = sum(w * np.take(padded, np.arange(k, k + size), axis) for k, w in enumerate(weights))
    return values


@pytest.mark.parametrize("sigma", [0.15, 0.5, 0.9, 1.3])
def test_the_gaussian_is_that_of_its_formula(image, sigma):
    out = RandomGaussianBlur(sigma, sigma)({"image": image}, np.random.default_rng(0))["image"]
    assert np.abs(out - gaussian(image, sigma)).max() <= 1.5


def test_gaussian_sigmas_are_random(image):
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3)).astype(np.uint8)
    spreads = [RandomGaussianBlur()({"image": noise}, np.random.default_rng(s))["image"].std() for s in range(20)]
    assert max(spreads) > 60 and min(spreads) < 25


def test_the_bilateral_blur_smooths_noise_and_keeps_edges():
    rng = np.random.default_rng(0)
    step = np.zeros((40, 40, 3), np.uint8)
    step[:, 20:] = 200
    noisy = (step + rng.integers(0, 20, step.shape)).astype(np.uint8)
    out = RandomBilateralBlur(0.75, 0.75)({"image": noisy}, rng)["image"].astype(int)
    assert out[:, :18].std() < 0.7 * noisy[:, :18].std()
    assert (out[:, 20] - out[:, 19]).min() > 140


def test_colour_transforms_leave_the_given_sample_and_the_label_alone(image):
    before, label = image.copy(), np.zeros(image.shape[:2], np.uint8)
    for transform in (ColorJitter(0.5), RandomGaussianBlur(), RandomBilateralBlur()):
        out = transform({"image": image, "label": label}, np.random.default_rng(0))
        assert out["image"].shape == image.shape and out["image"].dtype == np.uint8
        assert out["label"] is label
    assert np.array_equal(image, before)
