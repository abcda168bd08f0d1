"""Arrays -> tensors, and back for pictures."""

import cv2
import numpy as np
import torch

from utils.constants import IMAGENET_MEAN, IMAGENET_STD

Triple = tuple[float, float, float]


class Normalize:
    """The last step: image to (value / 255 - mean) / std per channel, image and label to tensors.

    Args:
        mean: RGB, of values in 0 to 1.
        std: RGB, of values in 0 to 1.
    """

    def __init__(self, mean: Triple = IMAGENET_MEAN, std: Triple = IMAGENET_STD) -> None:
        levels = np.arange(256) / 255
        self.tables = [((levels - m) / s).astype(np.float32) for m, s in zip(mean, std, strict=True)]

    def __call__(self, sample: dict) -> dict:
        """`image` uint8 (H,W,3) -> float32 (3,H,W); `label` uint8 (H,W), if there is one, -> int64 (H,W)."""
        image = np.empty((3, *sample["image"].shape[:2]), np.float32)
        for plane, table, levels in zip(image, self.tables, cv2.split(sample["image"]), strict=True):
            cv2.LUT(levels, table, dst=plane)
        tensors = {"image": torch.from_numpy(image)}
        if "label" in sample:
            tensors["label"] = torch.from_numpy(sample["label"].astype(np.int64))
        return sample | tensors


def denormalize(image: torch.Tensor, mean: Triple = IMAGENET_MEAN, std: Triple = IMAGENET_STD) -> np.ndarray:
    """A normalised image, float (3,H,W) on any device -> RGB uint8 (H,W,3)."""
    values = image.detach().float().cpu().permute(1, 2, 0).numpy()
    values = (values * np.float32(std) + np.float32(mean)) * 255
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
