"""The recipes that are built from the transforms, and normalisation."""

import numpy as np
import pytest
import torch

from transforms import (
    AugmentOptions,
    RandomAugment,
    TrainTransform,
    build_eval_transform,
    denormalize,
)
from utils.constants import IMAGENET_MEAN, IMAGENET_STD


def make_sample():
    rng = np.random.default_rng(0)
    return {
        "image": rng.integers(0, 256, (30, 40, 3)).astype(np.uint8),
        "label": rng.integers(0, 19, (30, 40)).astype(np.uint8),
        "name": "x",
    }


def test_evaluation_normalises_and_keeps_size_label_and_name():
    sample = make_sample()
    out = build_eval_transform()(sample, np.random.default_rng(0))
    expected = (sample["image"] / 255 - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)
    assert out["image"].dtype == torch.float32 and out["image"].is_contiguous()
    assert np.abs(out["image"].numpy() - expected.transpose(2, 0, 1)).max() < 1e-6
    assert out["label"].dtype == torch.int64 and np.array_equal(out["label"].numpy(), sample["label"])
    assert out["name"] == "x"


def test_denormalize_undoes_normalisation_for_every_value():
    levels = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    for mean, std in ((IMAGENET_MEAN, IMAGENET_STD), ((0.5, 0.4, 0.3), (1.0, 0.5, 0.1))):
        out = build_eval_transform(mean, std)({"image": levels}, np.random.default_rng(0))["image"]
        assert np.array_equal(denormalize(out, mean, std), levels)


@pytest.mark.parametrize(
    "blur",
    [{}, {"bblur": True}, {"gblur": False}, {"augment_corruption": 1.0}],
    ids=["gaussian", "bilateral", "off", "corrupted"],
)
def test_training_samples_are_reproducible_and_leave_their_source_alone(blur):
    sample = make_sample()
    before = {key: np.copy(value) for key, value in sample.items()}
    transform = TrainTransform(RandomAugment(AugmentOptions(crop_size=16, **blur)))
    first, second, other = (transform(sample, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first["image"].shape == (3, 16, 16) and first["label"].shape == (16, 16)
    assert torch.equal(first["image"], second["image"]) and torch.equal(first["label"], second["label"])
    assert not torch.equal(first["image"], other["image"])
    assert all(np.array_equal(before[key], sample[key]) for key in before)
