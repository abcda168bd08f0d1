"""Scaling, cropping and flipping: image and label move together, and nothing falls out."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from transforms.coarse_maps import move_map
from transforms.geometry import move_pixels
from transforms.options import AugmentOptions
from transforms.parameters import AugmentParams, RandomAugment


def generator(seed=0):
    return np.random.default_rng(seed)


def random_augment(crop, **options):
    return RandomAugment(AugmentOptions(crop_size=crop, **options))


def scale_crop(crop, scale_min=0.5, scale_max=2.0, **options):
    """(sample, rng) -> the sample scaled and cropped, not flipped."""
    choices = random_augment(crop, scale_min=scale_min, scale_max=scale_max, color_aug=0, gblur=False, **options)

    def call(sample, rng):
        sample = dict(sample)
        drawn = choices.sample(sample["image"].shape[:2], sample.pop("centroid", None), rng)
        return move_pixels(sample, replace(drawn, flip=False))

    return call


def make_sample(height=40, width=60, block=10, **more):
    """Label blocks of `block` pixels; the image carries the label as its colour."""
    rows, columns = np.arange(height) // block, np.arange(width) // block
    label = (rows[:, None] * 8 + columns[None] + 1).astype(np.uint8)
    return {"image": np.repeat(label[..., None] * 3, 3, axis=2), "label": label, "name": "x", **more}


@pytest.mark.parametrize("crop", [40, (40, 64), 192])
@pytest.mark.parametrize("seed", range(8))
def test_image_and_label_stay_aligned(crop, seed):
    out = scale_crop(crop, 0.5, 2.0)(make_sample(90, 150, block=30), generator(seed))
    image, label = out["image"], out["label"]
    assert image.shape == (*label.shape, 3) and image.dtype == label.dtype == np.uint8
    assert label.shape == ((crop, crop) if isinstance(crop, int) else crop)
    # away from the blocks' borders, where the image is smooth and the label is not, they agree exactly
    core = np.ones(label.shape, bool)
    for dy in range(-4, 5):
        for dx in range(-4, 5):
            core &= np.roll(label, (dy, dx), (0, 1)) == label
    core[:4], core[-4:], core[:, :4], core[:, -4:] = False, False, False, False
    expected = np.where(label == 255, 0, label * 3)
    assert np.array_equal(image[core][:, 0], expected[core])
    assert core.any()


@pytest.mark.parametrize("scale", [0.5, 0.73, 1.0, 1.31, 2.0])
def test_a_crop_is_a_window_of_the_whole_image_resized(scale):
    rng = generator(1)
    image = rng.integers(0, 256, (40, 60, 3)).astype(np.uint8)
    label = rng.integers(0, 19, (40, 60)).astype(np.uint8)
    size = (round(60 * scale), round(40 * scale))
    whole = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    whole_label = np.asarray(Image.fromarray(label).resize(size, Image.Resampling.NEAREST))
    out = scale_crop(16, scale, scale)({"image": image, "label": label}, generator(3))
    windows = np.lib.stride_tricks.sliding_window_view(whole, (16, 16, 3))[:, :, 0].astype(int)
    distance = np.abs(windows - out["image"]).max(axis=(2, 3, 4))
    y, x = np.unravel_index(distance.argmin(), distance.shape)
    assert distance[y, x] <= 1
    assert np.array_equal(whole_label[y : y + 16, x : x + 16], out["label"])


@pytest.mark.parametrize("seed", range(25))
def test_a_crop_contains_the_centroid_and_stays_inside(seed):
    rng = generator(seed)
    sample = make_sample()
    x, y = int(rng.integers(0, 60)), int(rng.integers(0, 40))
    sample["label"][y, x] = 200
    sample["centroid"] = (x, y)
    out = scale_crop(20, 1.0, 2.0)(sample, rng)
    assert (out["label"] == 200).any()
    assert not (out["label"] == 255).any()
    assert "centroid" not in out and out["name"] == "x"


def test_crops_around_a_centroid_are_spread():
    sample = make_sample(100, 100)
    sample["image"] = np.indices((100, 100, 3)).astype(np.uint8)[1]  # the colour is the column
    corners = {
        scale_crop(20, 1, 1)(sample | {"centroid": (50, 50)}, generator(s))["image"][0, 0, 0] for s in range(200)
    }
    assert corners == set(range(31, 51))


def test_crops_without_a_centroid_cover_every_place():
    sample = make_sample(20, 12)
    sample["image"] = np.indices((20, 12, 3)).astype(np.uint8)[0]  # the colour is the row
    corners = {scale_crop(10, 1, 1)(sample, generator(s))["image"][0, 0, 0] for s in range(200)}
    assert corners == set(range(11))


def test_a_small_image_is_padded_on_both_sides_with_black_and_ignore():
    sample = {"image": np.full((4, 6, 3), 9, np.uint8), "label": np.ones((4, 6), np.uint8), "centroid": (0, 0)}
    out = scale_crop((8, 6), 1, 1)(sample, generator())
    expected = np.full((8, 6), 255, np.uint8)
    expected[2:6] = 1
    assert np.array_equal(out["label"], expected)
    assert np.array_equal(out["image"][..., 1], np.where(expected == 1, 9, 0))


def test_pre_size_is_the_short_side_that_scales_refer_to():
    out = scale_crop(200, 0.5, 0.5, pre_size=80)(make_sample(40, 60), generator())
    rows, columns = (np.flatnonzero((out["label"] != 255).any(axis=axis)) for axis in (1, 0))
    assert (len(rows), len(columns)) == (40, 60)


def test_scales_are_spread_over_their_range():
    heights = []
    for seed in range(60):
        out = scale_crop(100, 0.5, 2.0)(make_sample(), generator(seed))
        heights.append((out["label"] != 255).any(axis=1).sum() / 40)
    assert min(heights) < 0.6 and max(heights) > 1.9 and 1.1 < np.mean(heights) < 1.4


def test_down_scaling_is_antialiased():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    out = scale_crop(16, 0.5, 0.5)({"image": stripes, "label": stripes[..., 0]}, generator())
    assert np.ptp(out["image"][:, 1:-1].astype(int)) < 10


def test_an_extreme_shape_still_gives_a_crop():
    sample = {"image": np.zeros((1, 500, 3), np.uint8), "label": np.zeros((1, 500), np.uint8)}
    assert scale_crop(32, 0.25, 0.25)(sample, generator())["label"].shape == (32, 32)


def test_a_flip_mirrors_image_and_label():
    sample = make_sample()
    drawn = random_augment(30).sample((40, 60), None, generator())
    straight, mirrored = (move_pixels(sample, replace(drawn, flip=flip)) for flip in (False, True))
    assert np.array_equal(mirrored["label"], straight["label"][:, ::-1])
    assert np.array_equal(mirrored["image"], straight["image"][:, ::-1])


def test_the_sample_given_may_be_read_only_and_stays():
    sample = make_sample()
    before = {key: np.copy(sample[key]) for key in ("image", "label")}
    for array in (sample["image"], sample["label"]):
        array.flags.writeable = False
    for scale in (0.7, 1.0):
        move_pixels(sample, random_augment(20, scale_min=scale, scale_max=scale).sample((40, 60), None, generator()))
    assert all(np.array_equal(before[key], sample[key]) for key in before)


def turned(sample, angle, **options):
    """A crop of 40 in the middle of the sample, at scale 1, turned by `angle`."""
    size = sample["label"].shape
    corner = tuple((side - 40) // 2 for side in size)
    return move_pixels(sample, AugmentParams(size, size, (40, 40), corner, angle=angle, **options))


@pytest.mark.parametrize("flip", [False, True])
def test_a_quarter_turn_is_exact_and_counter_clockwise(flip):
    sample = make_sample(80, 100, block=7)
    plain, quarter = (turned(sample, angle, flip=flip) for angle in (0.0, 90.0))
    for key in ("image", "label"):
        assert np.array_equal(quarter[key], np.rot90(plain[key], -1 if flip else 1))


@pytest.mark.parametrize("angle", [-45.0, 10.0, 30.0])
def test_a_turn_shows_the_image_around_the_crop_and_keeps_the_label_aligned(angle):
    out = turned(make_sample(120, 120, block=24), angle)
    assert (out["label"] != 255).all()  # corners come from outside of the crop
    core = np.ones((40, 40), bool)
    for dy in range(-4, 5):
        for dx in range(-4, 5):
            core &= np.roll(out["label"], (dy, dx), (0, 1)) == out["label"]
    core[:4], core[-4:], core[:, :4], core[:, -4:] = False, False, False, False
    assert core.any() and (out["image"][core][:, 0] == 3 * out["label"][core]).all()
    small = turned(make_sample(40, 40), angle)  # nothing is around: black and ignored
    assert (small["label"][[0, 0, -1, -1], [0, -1, 0, -1]] == 255).all() and not small["image"][0, 0].any()


def test_a_turned_crop_contains_the_centroid():
    options = {"scale_min": 1.0, "scale_max": 1.0, "color_aug": 0, "gblur": False, "rotate": 45.0}
    choices, angles = random_augment(24, **options), []
    for seed in range(40):
        rng = generator(seed)
        sample = make_sample(90, 120, block=200)
        x, y = int(rng.integers(2, 118)), int(rng.integers(2, 88))
        sample["label"][y - 1 : y + 2, x - 1 : x + 2] = 200
        drawn = choices.sample((90, 120), (x, y), rng)
        angles.append(drawn.angle)
        assert (move_pixels(sample, drawn)["label"] == 200).any()
    assert 0 < angles.count(0.0) < 20 and min(angles) < -20 and max(angles) > 20


@pytest.mark.parametrize("scale", [1.0, 0.8])
@pytest.mark.parametrize("angle", [0.0, -25.0, 90.0])
def test_a_map_turns_as_its_image_does(angle, scale):
    size, crop = (81, 101), (41, 41)
    scaled = tuple(round(side * scale) for side in size)
    corner = tuple((side - 41) // 2 for side in scaled)
    drawn = AugmentParams(size, scaled, crop, corner, flip=True, angle=angle)
    places = np.stack(np.meshgrid(np.arange(81), np.arange(101), indexing="ij"))  # each pixel's own
    sample = {
        "image": np.stack([*2 * places, places[0]], axis=-1).astype(np.uint8),
        "label": places[0].astype(np.uint8),
    }
    expected = move_pixels(sample, drawn)["image"][::4, ::4, :2]
    values = places[:, ::4, ::4].astype(np.float16)
    assert np.abs(2 * move_map(values, drawn).numpy() - expected.transpose(2, 0, 1)).max() <= 1.5
