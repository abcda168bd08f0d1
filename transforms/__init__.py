"""Augmentation: sampled as an `AugmentParams`, carried out on the CPU or in batches on the device."""

from transforms.device import DeviceAugment
from transforms.options import AugmentOptions
from transforms.parameters import RandomAugment
from transforms.pipelines import BatchTransform, CropWindow, TrainTransform, build_eval_transform, build_train_transform
from transforms.tensors import denormalize

__all__ = [
    "AugmentOptions",
    "BatchTransform",
    "CropWindow",
    "DeviceAugment",
    "RandomAugment",
    "TrainTransform",
    "build_eval_transform",
    "build_train_transform",
    "denormalize",
]
