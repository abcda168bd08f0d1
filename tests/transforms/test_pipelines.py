"""Three pipelines make the same sample of the same choices: plain, on the CPU, and on the device."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from datasets.synthetic.scene import draw_scene
from reference.transforms import augment_plain
from transforms import AugmentOptions, CropWindow, DeviceAugment, RandomAugment, TrainTransform
from transforms.device import source_window
from transforms.parameters import AugmentParams
from utils.constants import IMAGENET_STD

SCALE = 255 * torch.tensor(IMAGENET_STD).view(3, 1, 1)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def scene():
    image, label, _ = draw_scene(0, 3, 128, 256)
    return {"image": image, "label": label, "name": "x"}


class Fixed:
    """Choices that are not drawn."""

    def __init__(self, augmentation):
        self.augmentation = augmentation

    def sample(self, size, centroid, rng, epoch):
        return self.augmentation


def windows(scene, augmentations):
    """A batch for `DeviceAugment`."""
    samples = [CropWindow(Fixed(step))(scene, None) for step in augmentations]
    arrays = [array for sample in samples for array in sample["windows"]]
    flat = torch.from_numpy(np.concatenate([array.ravel() for array in arrays]))
    return {"windows": flat, "shapes": [a.shape for a in arrays], "augmentation": list(augmentations), "name": ["x"]}


def on_device(scene, *augmentations):
    return DeviceAugment(CPU)(windows(scene, augmentations))


def compare(scene, step):
    """Shares of values more than two levels off and of other labels, of the CPU's and the device's sample."""
    plain = augment_plain(scene, step)
    device = on_device(scene, step)
    samples = TrainTransform(Fixed(step))(scene, None), {key: device[key][0] for key in ("image", "label")}
    for sample in samples:
        assert sample["image"].dtype == torch.float32 and sample["label"].dtype == torch.int64
        levels = ((sample["image"] - plain["image"]) * SCALE).abs()
        yield float((levels > 2.01).double().mean()), float((sample["label"] != plain["label"]).double().mean())


@pytest.mark.parametrize("crop", [(96, 112), (300, 40), (17, 401)])
def test_samples_are_within_two_levels_and_labels_equal(scene, crop):
    choices = RandomAugment(AugmentOptions(crop_size=crop))
    off = []
    for seed in range(12):
        centroid = (int(200 * seed / 12), 60) if seed % 2 else None
        step = choices.sample((128, 256), centroid, np.random.default_rng(seed))
        off += list(compare(scene, step))
    levels, labels = np.mean(off, 0)
    assert levels < 1e-4 and labels == 0


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_scales_that_hit_pixels_exactly(scene, scale):
    scaled = (int(128 * scale), int(256 * scale))
    step = AugmentParams((128, 256), scaled, (64, 64), (0, scaled[1] - 64), flip=True)
    for levels, labels in compare(scene, step):
        assert levels == 0 and labels < 1e-4


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue"])
def test_each_step_of_the_jitter(scene, name):
    for amount in (-0.2, 0.03, 0.2) if name == "hue" else (0.0, 0.75, 1.25):
        step = AugmentParams((128, 256), (128, 256), (128, 256), (0, 0), jitter=((name, amount),))
        assert all(levels < 1e-4 for levels, _ in compare(scene, step))


def test_a_device_s_sample_does_not_depend_on_its_batch(scene):
    choices = RandomAugment(AugmentOptions(crop_size=64))
    steps = [choices.sample((128, 256), None, np.random.default_rng(seed)) for seed in range(3)]
    steps.append(replace(steps[0], blur="off", sigma=0.15))
    together = on_device(scene, *steps[:3])
    for i, step in enumerate(steps[:3]):
        alone = on_device(scene, step)
        assert torch.equal(alone["label"][0], together["label"][i])
        torch.testing.assert_close(alone["image"][0], together["image"][i], rtol=0, atol=1e-5)
    assert together["image"].shape == (3, 3, 64, 64) and set(together) == {"image", "label", "name"}


def test_only_the_window_is_handed_over(scene):
    step = AugmentParams((128, 256), (256, 512), (64, 64), (100, 300))
    rows, columns = source_window(step)
    assert (rows.stop - rows.start, columns.stop - columns.start) <= (37, 37)
    sample = CropWindow(Fixed(step))(scene | {"centroid": (1, 1)}, None)
    assert set(sample) == {"name", "windows", "augmentation"}
    assert all(
        np.shares_memory(window, scene[key]) for window, key in zip(sample["windows"], ("image", "label"), strict=True)
    )
    changed = {"image": np.full_like(scene["image"], 7), "label": np.full_like(scene["label"], 7), "name": "x"}
    for key in ("image", "label"):
        changed[key][rows, columns] = scene[key][rows, columns]
    assert torch.equal(on_device(changed, step)["image"], on_device(scene, step)["image"])


def statistics(images, labels):
    """Mean, deviation, energy of fine detail, and class histogram of many samples."""
    fine = [np.abs(cv2.Laplacian(image.numpy().transpose(1, 2, 0), cv2.CV_32F)).mean() for image in images]
    counts = torch.bincount(torch.stack(list(labels)).flatten(), minlength=256).double()
    return (
        torch.stack(list(images)).mean((0, 2, 3)),
        torch.stack(list(images)).std(),
        np.mean(fine),
        counts / counts.sum(),
    )


def test_the_device_s_samples_are_distributed_as_the_cpu_s(scene):
    """Whole pipelines from equal generators, each with its own: not sample by sample but as populations."""
    choices = RandomAugment(AugmentOptions(crop_size=48))
    count, sets = 60, []
    for first in (0, 1000):
        drawn = [choices.sample((128, 256), None, np.random.default_rng(first + i)) for i in range(count)]
        if first:
            batch = on_device(scene, *drawn)
            sets.append(statistics(batch["image"], batch["label"]))
        else:
            samples = [TrainTransform(Fixed(step))(scene, None) for step in drawn]
            sets.append(statistics([s["image"] for s in samples], [s["label"] for s in samples]))
    (mean, deviation, fine, classes), (mean_d, deviation_d, fine_d, classes_d) = sets
    assert (mean - mean_d).abs().max() < 0.3 and abs(deviation / deviation_d - 1) < 0.15
    assert abs(fine / fine_d - 1) < 0.25 and (classes - classes_d).abs().sum() < 0.35
