"""From a sample as a data set gives it to what a model is fed with."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch

from transforms.coarse_maps import move_map
from transforms.color import change_colors
from transforms.device import DeviceAugment, source_window
from transforms.geometry import move_pixels
from transforms.mixing import BatchMixing
from transforms.options import AugmentOptions
from transforms.parameters import RandomAugment
from transforms.tensors import Normalize, Triple
from utils.constants import IMAGENET_MEAN, IMAGENET_STD

BatchTransform = Callable[[dict], dict]


class TrainTransform:
    """(sample, rng) -> augmented sample of tensors, made on the CPU."""

    def __init__(self, choices: RandomAugment, mean: Triple = IMAGENET_MEAN, std: Triple = IMAGENET_STD) -> None:
        self.choices, self.normalize = choices, Normalize(mean, std)

    def __call__(self, sample: dict, rng: np.random.Generator) -> dict:
        """`image` uint8 (H,W,3), `label` uint8 (H,W), perhaps `epoch`, `centroid` (x, y) and `teacher` (C,H/4,W/4) ->
        `image` float32 (3,h,w), `label` int64 (h,w), `teacher` float16 (C,h/4,w/4); the given one stays as it was."""
        sample = dict(sample)
        size, centroid, epoch = sample["image"].shape[:2], sample.pop("centroid", None), sample.pop("epoch", 0)
        augmentation = self.choices.sample(size, centroid, rng, epoch)
        if "teacher" in sample:
            sample["teacher"] = move_map(sample["teacher"], augmentation)
        sample = move_pixels(sample, augmentation)
        return self.normalize(sample | {"image": change_colors(sample["image"], augmentation)})


class CropWindow:
    """(sample, rng) -> what `DeviceAugment` needs of it: the window that is shown, as it is, and the random choices."""

    def __init__(self, choices: RandomAugment) -> None:
        self.choices = choices

    def __call__(self, sample: dict, rng: np.random.Generator) -> dict:
        """As `TrainTransform`, but -> `windows` (image uint8 (h,w,3), label uint8 (h,w)), not copied, and
        `augmentation`."""
        size, centroid, epoch = sample["image"].shape[:2], sample.get("centroid"), sample.get("epoch", 0)
        augmentation = self.choices.sample(size, centroid, rng, epoch)
        window = source_window(augmentation)
        rest = {key: value for key, value in sample.items() if key not in ("image", "label", "centroid", "epoch")}
        windows = (sample["image"][window], sample["label"][window])
        return rest | {"windows": windows, "augmentation": augmentation}


class EvalTransform:
    """(sample, rng) -> sample of tensors at its native size; nothing is random, and there need not be a label."""

    def __init__(self, mean: Triple = IMAGENET_MEAN, std: Triple = IMAGENET_STD) -> None:
        self.normalize = Normalize(mean, std)

    def __call__(self, sample: dict, rng: np.random.Generator) -> dict:
        """`image` uint8 (H,W,3) -> float32 (3,H,W); `label` uint8 (H,W), if there is one, -> int64 (H,W)."""
        return self.normalize(sample)


def build_train_transform(
    options: AugmentOptions, device: torch.device, mean: Triple = IMAGENET_MEAN, std: Triple = IMAGENET_STD
) -> tuple[TrainTransform | CropWindow, BatchTransform | None]:
    """The training recipe: what loader processes do with a sample, and what the device then does with a batch."""
    choices = RandomAugment(options)
    on_device = options.augment == "device"
    steps: list[BatchTransform] = [DeviceAugment(device, mean, std)] if on_device else []
    if options.cutmix or options.classmix:
        steps.append(BatchMixing(device, options.cutmix, options.classmix))
    transform = CropWindow(choices) if on_device else TrainTransform(choices, mean, std)
    return transform, partial(_in_turn, steps) if steps else None


def _in_turn(steps: Sequence[BatchTransform], batch: dict) -> dict:
    for step in steps:
        batch = step(batch)
    return batch


def build_eval_transform(mean: Triple = IMAGENET_MEAN, std: Triple = IMAGENET_STD) -> EvalTransform:
    """Normalisation at the image's native size, nothing random; works without a label."""
    return EvalTransform(mean, std)
