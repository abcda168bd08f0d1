"""The straightforward formulation of a training sample: the reference that tests and benchmarks compare with.

Pillow decodes, each label id has a mask, the whole image is resized and then cut, Pillow's enhancers and its HSV mode
jitter, a float64 convolution blurs, tensors are made on the CPU. scikit-image's Gaussian is not a dependency: the blur
here has its definition (cut off at four sigmas, edges repeated, levels cut off), written with NumPy.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageEnhance

from transforms.parameters import AugmentParams
from transforms.tensors import Triple
from utils.constants import IGNORE_LABEL, IMAGENET_MEAN, IMAGENET_STD

FORMATS = ("PNG", "JPEG")


def load_plain(image_path: Path, label_path: Path, id_to_train: Mapping[int, int]) -> dict:
    """`image` RGB (H,W,3) uint8 and `label`, train ids (H,W) uint8, from two files."""
    image = np.array(Image.open(image_path, formats=FORMATS).convert("RGB"))
    label_ids = np.array(Image.open(label_path, formats=FORMATS))
    label = np.full_like(label_ids, IGNORE_LABEL)
    for label_id, train_id in id_to_train.items():
        label[label_ids == label_id] = train_id
    return {"image": image, "label": label}


def augment_plain(
    sample: dict, augmentation: AugmentParams, mean: Triple = IMAGENET_MEAN, std: Triple = IMAGENET_STD
) -> dict:
    """Carries out `augmentation`, each step on the whole picture.

    Args:
        sample: `image` uint8 (H,W,3) and `label` uint8 (H,W).
        augmentation: What is to be done; not the bilateral blur, and no corruption.
        mean: RGB, of values in 0 to 1.
        std: RGB, of values in 0 to 1.

    Returns:
        `image` float32 (3,H,W), `label` int64 (H,W), at the crop's size.
    """
    size = augmentation.scaled[::-1]
    image = Image.fromarray(sample["image"]).resize(size, Image.Resampling.BICUBIC)
    label = Image.fromarray(sample["label"]).resize(size, Image.Resampling.NEAREST)
    image, label = _cut(image, augmentation, (0, 0, 0)), _cut(label, augmentation, IGNORE_LABEL)
    if augmentation.flip:
        image, label = (picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for picture in (image, label))
    for name, amount in augmentation.jitter:
        image = _JITTER[name](image, amount)
    levels = np.array(image)
    if augmentation.blur == "gaussian":
        levels = (gaussian(levels / 255, augmentation.sigma) * 255).astype(np.uint8)
    values = torch.from_numpy(levels).permute(2, 0, 1).float() / 255
    mean, std = torch.tensor(mean)[:, None, None], torch.tensor(std)[:, None, None]
    return sample | {"image": (values - mean) / std, "label": torch.from_numpy(np.array(label)).long()}


def _cut(picture: Image.Image, augmentation: AugmentParams, fill: int | tuple[int, int, int]) -> Image.Image:
    """The crop out of the scaled picture, padded where it reaches beyond."""
    crop = Image.new(picture.mode, augmentation.crop[::-1], fill)
    crop.paste(picture, (-augmentation.corner[1], -augmentation.corner[0]))
    return crop


def adjust_hue(image: Image.Image, shift: float) -> Image.Image:
    """Adds to the 8-bit hue, modulo 256, as torchvision does."""
    hue, saturation, value = image.convert("HSV").split()
    turned = np.array(hue) + np.uint8(int(shift * 255) % 256)
    return Image.merge("HSV", (Image.fromarray(turned), saturation, value)).convert("RGB")


_JITTER = {
    "brightness": lambda image, factor: ImageEnhance.Brightness(image).enhance(factor),
    "contrast": lambda image, factor: ImageEnhance.Contrast(image).enhance(factor),
    "saturation": lambda image, factor: ImageEnhance.Color(image).enhance(factor),
    "hue": adjust_hue,
}


def gaussian(values: np.ndarray, sigma: float) -> np.ndarray:
    """Float64 (H,W,C) convolved with a Gaussian that is cut off at four sigmas; edges are repeated."""
    radius = int(4 * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weights /= weights.sum()
    for axis in (0, 1):
        padding = [(radius, radius) if axis == i else (0, 0) for i in range(3)]
        padded = np.pad(values, padding, mode="edge")
        values = np.lib.stride_tricks.sliding_window_view(padded, 2 * radius + 1, axis) @ weights
    return values
