"""Augmentation of samples on the CPU: objects called as (sample, rng) -> sample, and the recipes built from them."""

from collections.abc import Callable, Sequence

import numpy as np

from transforms.color import ColorJitter, RandomBilateralBlur, RandomGaussianBlur
from transforms.geometry import RandomHorizontalFlip, RandomScaleCrop
from transforms.tensors import IMAGENET_MEAN, IMAGENET_STD, Normalize, Triple, denormalize
from utils.errors import OptionError

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "Compose", "build_eval_transform", "build_train_transform", "denormalize"]

Transform = Callable[[dict, np.random.Generator], dict]

_BLURS: dict[str, Callable[[], Transform] | None] = {
    "gaussian": RandomGaussianBlur,
    "bilateral": RandomBilateralBlur,
    "off": None,
}


class Compose:
    """Transforms one after the other, all with the same random generator."""

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = list(transforms)

    def __call__(self, sample: dict, rng: np.random.Generator) -> dict:
        """Sample -> sample; the one given is left as it was."""
        for transform in self.transforms:
            sample = transform(sample, rng)
        return sample


def build_train_transform(
    *,
    crop_size: int | tuple[int, int],
    pre_size: int | None = None,
    scale_min: float = 0.5,
    scale_max: float = 2.0,
    color_aug: float = 0.25,
    blur: str = "gaussian",
    mean: Triple = IMAGENET_MEAN,
    std: Triple = IMAGENET_STD,
) -> Compose:
    """The training recipe: scale and crop, flip, colour jitter (0: none), blur, normalisation.

    Args:
        crop_size: Side of the crop in pixels, or (height, width).
        pre_size: The short side's length that scales refer to; None: the image's own.
        scale_min: Least scale.
        scale_max: Greatest scale.
        color_aug: Strength of the colour jitter.
        blur: `gaussian`, `bilateral` or `off`.
        mean: RGB mean of values in 0 to 1.
        std: RGB standard deviation of values in 0 to 1.

    Raises:
        OptionError: A value is out of range; the message names the flag.
    """
    if blur not in _BLURS:
        raise OptionError(f"blur {blur!r} is not known; use one of {', '.join(_BLURS)} (--gblur, --bblur, --no-gblur)")
    steps: list[Transform] = [RandomScaleCrop(crop_size, scale_min, scale_max, pre_size), RandomHorizontalFlip()]
    if color_aug != 0:
        steps.append(ColorJitter(color_aug))
    if (build_blur := _BLURS[blur]) is not None:
        steps.append(build_blur())
    return Compose([*steps, Normalize(mean, std)])


def build_eval_transform(mean: Triple = IMAGENET_MEAN, std: Triple = IMAGENET_STD) -> Compose:
    """Normalisation at the image's native size, nothing random; works without a label."""
    return Compose([Normalize(mean, std)])
