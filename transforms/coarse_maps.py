"""Maps of less than an image's size, such as a teacher's logits, moved as its pixels are."""

import numpy as np
import torch
from torch import Tensor

from transforms.parameters import AugmentParams
from utils.resizing import coarse_size


def move_map(values: np.ndarray, augmentation: AugmentParams) -> Tensor:
    """Scales, crops and flips a map by bilinear interpolation.

    A map's first and last values are those of its image's first and last pixels (align_corners=True, as everywhere in
    this family). Outside the image the nearest value is repeated; labels are ignored there.

    Args:
        values: (C,h,w) of an image of `augmentation.size`.
        augmentation: What is done to the image.

    Returns:
        Float16 (C,H/4,W/4) of the crop, as `coarse_size` has it.
    """
    places = zip(values.shape[1:], coarse_size(augmentation.crop), range(2), strict=True)
    rows, columns = (_bilinear_matrix(length, count, augmentation, axis) for length, count, axis in places)
    moved = rows @ torch.from_numpy(values.astype(np.float32)) @ columns.T
    return (moved.flip(-1) if augmentation.flip else moved).half()


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
