"""What is drawn for a sample: ranges, distributions, and that nothing but the generator decides."""

from dataclasses import replace

import numpy as np
import pytest

from transforms.corruptions import CORRUPTIONS
from transforms.options import AugmentOptions
from transforms.parameters import RandomAugment
from utils.errors import OptionError

SIZE = (100, 200)


def drawn(count=600, centroid=None, **options):
    choices = RandomAugment(AugmentOptions(**({"crop_size": 40} | options)))
    return [choices.sample(SIZE, centroid, np.random.default_rng(seed)) for seed in range(count)]


def spread(values, low, high):
    """True where values fill [low, high] evenly: their quartiles are where a uniform distribution has them."""
    quartiles = (np.quantile(values, [0.25, 0.5, 0.75]) - low) / (high - low)
    inside = low <= min(values) and max(values) <= high
    return inside and np.abs(quartiles - [0.25, 0.5, 0.75]).max() < 0.07


def test_everything_is_spread_over_its_range():
    steps = drawn()
    assert spread([step.scaled[1] / SIZE[1] for step in steps], 0.5, 2.0)
    assert spread([step.sigma for step in steps], 0.15, 1.30)
    assert 0.45 < np.mean([step.flip for step in steps]) < 0.55
    for name, low, high in (("brightness", 0.75, 1.25), ("contrast", 0.75, 1.25), ("saturation", 0.75, 1.25)):
        assert spread([dict(step.jitter)[name] for step in steps], low, high)
    assert spread([dict(step.jitter)["hue"] for step in steps], -0.25, 0.25)
    assert len({tuple(name for name, _ in step.jitter) for step in steps}) == 24
    for axis in (0, 1):
        places = [step.corner[axis] / (step.scaled[axis] - 40) for step in steps if step.scaled[axis] > 60]
        assert spread(places, 0, 1)


def test_crops_hold_their_centroid():
    for step in drawn(100, centroid=(150, 20), scale_min=1.0, crop_size=(40, 30)):
        point = [int((at + 0.5) * length / side) for at, length, side in zip((20, 150), step.scaled, SIZE, strict=True)]
        assert all(part.start <= at < part.stop for part, at in zip(step.window, point, strict=True))


def test_after_the_last_epoch_of_crops_samples_are_whole_images_in_their_own_size():
    choices = RandomAugment(AugmentOptions(crop_size=40, max_crop_epoch=2, rotate=10))
    for epoch, whole in ((2, False), (3, True)):
        steps = [choices.sample(SIZE, (150, 20), np.random.default_rng(seed), epoch) for seed in range(40)]
        assert all((step.scaled == step.crop == SIZE and step.corner == (0, 0)) == whole for step in steps)
        assert 0 < sum(step.flip for step in steps) < 40 and len({step.jitter for step in steps}) == 40
        assert any(step.angle for step in steps)
    enlarged = RandomAugment(AugmentOptions(max_crop_epoch=0, pre_size=150))
    assert enlarged.sample(SIZE, None, np.random.default_rng(0), 1).crop == (150, 300)


def test_equal_generators_draw_equal_choices_and_steps_can_be_switched_off():
    assert drawn(5) == drawn(5)
    assert len(set(drawn(50))) == 50
    step = drawn(1, color_aug=0, gblur=False)[0]
    assert (step.jitter, step.blur, step.sigma) == ((), "off", 0.0)
    assert drawn(1, bblur=True)[0].sigma <= 0.75


def test_strong_jitter_keeps_factors_from_zero_and_hue_within_half_a_turn():
    steps = [dict(step.jitter) for step in drawn(color_aug=1.5)]
    assert spread([step["contrast"] for step in steps], 0.0, 2.5)
    assert spread([step["hue"] for step in steps], -0.5, 0.5)


def test_turns_and_mirroring_leave_the_other_choices_as_they_were():
    steps = drawn(rotate=20.0)
    assert [replace(step, angle=0.0) for step in steps] == drawn() and {step.angle for step in drawn(50)} == {0.0}
    assert spread([step.angle for step in steps], -20, 20)
    assert drawn(mirror=False) == [replace(step, flip=False) for step in drawn()]


def test_corruptions_are_sampled_last_and_leave_the_other_choices_as_they_were():
    steps = drawn(augment_corruption=0.5)
    assert [replace(step, corruption=None) for step in steps] == drawn()
    found = [step.corruption for step in steps if step.corruption]
    assert 0.45 < len(found) / len(steps) < 0.55
    assert {name for name, _, _ in found} == {*CORRUPTIONS} - {"frost"}
    assert {strength for _, strength, _ in found} == {1, 2, 3, 4, 5} and len({seed for *_, seed in found}) == len(found)
    assert {step.corruption[0] for step in drawn(50, augment_corruption=1.0, corruptions=("fog", "snow"))} == {
        "fog",
        "snow",
    }


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"crop_size": 0}, "--crop_size"),
        ({"crop_size": (8, -1)}, "--crop_size"),
        ({"scale_min": 0.0}, "--scale_min"),
        ({"scale_min": 2.0, "scale_max": 1.0}, "--scale_max"),
        ({"scale_max": float("nan")}, "--scale_max"),
        ({"pre_size": 0}, "--pre_size"),
        ({"color_aug": -0.1}, "--color_aug"),
        ({"color_aug": float("nan")}, "--color_aug"),
        ({"augment_corruption": 1.5}, "--augment_corruption"),
        ({"augment_corruption": 0.5, "augment": "device"}, "--augment cpu"),
        ({"corruptions": ("rain",)}, "--corruptions rain"),
    ],
)
def test_values_out_of_range_name_the_flag(options, flag):
    with pytest.raises(OptionError, match=flag):
        AugmentOptions(**options)
