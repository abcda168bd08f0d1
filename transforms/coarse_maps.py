"""Maps of less than an image's size, such as a teacher's logits, moved as its pixels are."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from transforms.parameters import AugmentParams
from utils.resizing import coarse_size


def move_map(values: np.ndarray, augmentation: AugmentParams) -> Tensor:
    """Scales, crops, turns and flips a map by bilinear interpolation.

    A map's first and last values are those of its image's first and last pixels (align_corners=True, as everywhere in
    this family). Outside the image the nearest value is repeated; labels are ignored there.

    Args:
        values: (C,h,w) of an image of `augmentation.size`.
        augmentation: What is done to the image.

    Returns:
        Float16 (C,H/4,W/4) of the crop, as `coarse_size` has it.
    """
    source = torch.from_numpy(values.astype(np.float32))
    if augmentation.angle:
        grid = _turned_grid(augmentation)
        moved = F.grid_sample(source[None], grid[None], padding_mode="border", align_corners=True)[0]
    else:
        places = zip(values.shape[1:], coarse_size(augmentation.crop), range(2), strict=True)
        rows, columns = (_bilinear_matrix(length, count, augmentation, axis) for length, count, axis in places)
        moved = rows @ source @ columns.T
    return (moved.flip(-1) if augmentation.flip else moved).half()


def _turned_grid(augmentation: AugmentParams) -> Tensor:
    """Float32 (H/4,W/4,2): where the values of a turned crop are in the image, (x, y) from -1 to 1."""
    turn, crop = math.radians(augmentation.angle), augmentation.crop
    axes = (torch.linspace(-(side - 1) / 2, (side - 1) / 2, n) for side, n in zip(crop, coarse_size(crop), strict=True))
    y, x = torch.meshgrid(*axes, indexing="ij")  # from the crop's centre
    turned = y * math.cos(turn) + x * math.sin(turn), x * math.cos(turn) - y * math.sin(turn)
    found = []
    for axis, pixels in enumerate(turned):
        original, scaled = augmentation.size[axis], augmentation.scaled[axis]
        pixels = pixels + (crop[axis] - 1) / 2 + augmentation.corner[axis]  # of the scaled image
        pixels = (pixels + 0.5) * (original / scaled) - 0.5
        found.append(2 * pixels / max(original - 1, 1) - 1)
    return torch.stack(found[::-1], dim=-1)


def _bilinear_matrix(length: int, count: int, augmentation: AugmentParams, axis: int) -> Tensor:
    """Float32 (count, length): a crop's values along an axis from those of the image."""
    original, scaled, crop = (getattr(augmentation, name)[axis] for name in ("size", "scaled", "crop"))
    pixels = torch.linspace(0, crop - 1, count) + augmentation.corner[axis]  # of the scaled image
    pixels = (pixels + 0.5) * (original / scaled) - 0.5
    places = (pixels * ((length - 1) / max(original - 1, 1))).clamp(0, length - 1)
    lower = places.long().clamp(max=max(length - 2, 0))
    share = (places - lower)[:, None]
    upper = (lower + 1).clamp(max=length - 1)
    matrix = torch.zeros(count, length).scatter_add_(1, lower[:, None], 1 - share)
    return matrix.scatter_add_(1, upper[:, None], share)
