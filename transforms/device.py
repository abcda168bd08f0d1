"""Augmentation in batches on the device: loaders hand over the raw window of each sample and what is to be done to it.

The steps are those of the CPU, with the same rounding between them, so that a sample differs from the CPU's by rounding
only. All of it depends on the sample's own `AugmentParams`, never on the batch.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from transforms.color import gaussian_radius, hue_steps
from transforms.parameters import GAUSSIAN_SIGMAS, AugmentParams
from transforms.resampling import bicubic_matrix, bicubic_source, nearest_indices
from transforms.tensors import Triple
from utils.constants import IGNORE_LABEL, IMAGENET_MEAN, IMAGENET_STD

GRAY = (19595 / 65536, 38470 / 65536, 7471 / 65536)  # Pillow's weights of R, G and B


def source_window(augmentation: AugmentParams) -> tuple[slice, slice]:
    """The rows and columns of the image that a sample is made from."""
    axes = zip(augmentation.size, augmentation.scaled, augmentation.window, strict=True)
    rows, columns = (bicubic_source(*axis) for axis in axes)
    return rows, columns


class DeviceAugment:
    """Called with a batch of windows -> `image` and `label` on the device.

    Args:
        device: Where the work is done.
        mean: RGB, of values in 0 to 1.
        std: RGB, of values in 0 to 1.
    """

    def __init__(self, device: torch.device, mean: Triple = IMAGENET_MEAN, std: Triple = IMAGENET_STD) -> None:
        self.device = device
        self.mean, self.std = (torch.tensor(values, device=device).view(3, 1, 1) for values in (mean, std))

    @torch.no_grad()
    def __call__(self, batch: dict) -> dict:
        """`windows` uint8 (bytes of all images and labels), `shapes` and `augmentation` (list) -> the batch without
        them, with `image` float32 (B,3,H,W) and `label` int64 (B,H,W)."""
        pieces = batch["windows"].to(self.device, non_blocking=True).split([int(np.prod(s)) for s in batch["shapes"]])
        arrays = [piece.view(shape) for piece, shape in zip(pieces, batch["shapes"], strict=True)]
        steps = batch["augmentation"]
        images = [_image(window, step) for window, step in zip(arrays[0::2], steps, strict=True)]
        labels = [_label(window, step) for window, step in zip(arrays[1::2], steps, strict=True)]
        levels = _blur(torch.stack(images), steps)
        rest = {key: value for key, value in batch.items() if key not in ("windows", "shapes", "augmentation")}
        return rest | {"image": (levels / 255 - self.mean) / self.std, "label": torch.stack(labels).long()}


def _image(window: Tensor, step: AugmentParams) -> Tensor:
    """Window uint8 (h,w,3) -> levels float32 (3,H,W): scaled, cropped, flipped, jittered."""
    axes = zip(step.size, step.scaled, step.window, strict=True)
    by_rows, by_columns = (bicubic_matrix(*axis, window.device) for axis in axes)
    levels = _rounded(window.permute(2, 0, 1).float() @ by_columns.T)
    levels = _padded(_rounded(by_rows @ levels), step, 0)
    if step.flip:
        levels = levels.flip(-1)
    for name, amount in step.jitter:
        levels = _JITTER[name](levels, amount)
    return levels


def _label(window: Tensor, step: AugmentParams) -> Tensor:
    """Window uint8 (h,w) -> label uint8 (H,W): scaled, cropped, flipped."""
    axes = zip(step.size, step.scaled, step.window, source_window(step), strict=True)
    rows, columns = (
        torch.from_numpy(nearest_indices(side, length, part) - source.start).to(window.device, non_blocking=True)
        for side, length, part, source in axes
    )
    label = _padded(window.index_select(0, rows).index_select(1, columns), step, IGNORE_LABEL)
    return label.flip(-1) if step.flip else label


def _padded(seen: Tensor, step: AugmentParams, fill: int) -> Tensor:
    if seen.shape[-2:] == step.crop:
        return seen
    crop = seen.new_full((*seen.shape[:-2], *step.crop), fill)
    crop[..., step.shown[0], step.shown[1]] = seen
    return crop


def _rounded(levels: Tensor) -> Tensor:
    return levels.add_(0.5).floor_().clamp_(0, 255)


def _cut_off(levels: Tensor) -> Tensor:
    """To whole levels as Pillow's blend does; the rest is for values that float32 leaves just below a whole one."""
    return levels.add_(1e-4).floor_().clamp_(0, 255)


def _gray(levels: Tensor) -> Tensor:
    red, green, blue = (level * weight for level, weight in zip(levels, GRAY, strict=True))
    return (red + green + blue)[None].add_(0.5).floor_()


def _brightness(levels: Tensor, factor: float) -> Tensor:
    return _cut_off(levels * factor)


def _contrast(levels: Tensor, factor: float) -> Tensor:
    mean = (_gray(levels).mean() + 0.5).floor()
    return _cut_off(mean + factor * (levels - mean))


def _saturation(levels: Tensor, factor: float) -> Tensor:
    gray = _gray(levels)
    return _cut_off(gray + factor * (levels - gray))


def _hue(levels: Tensor, shift: float) -> Tensor:
    """Through Pillow's HSV: 255 steps of hue to a turn, counted modulo 256, and 255 of saturation, both cut off."""
    value, brightest = levels.max(0)
    chroma = value - levels.amin(0)
    red, green, blue = levels
    divisor = chroma.clamp(min=1)
    sector = torch.stack(((green - blue) / divisor, (blue - red) / divisor + 2, (red - green) / divisor + 4))
    hue = sector.gather(0, brightest[None])[0].mul_(255 / 6).add_(255).fmod_(255).add_(2e-4).floor_()
    saturation = (chroma * 255 / value.clamp(min=1)).add_(1e-4).floor_().div_(255)
    hue = (hue + hue_steps(shift)).remainder_(256).mul_(6 / 255)
    # each channel falls and rises with the hue's distance from its own
    place = torch.stack([hue + offset for offset in (5, 3, 1)]).remainder_(6)
    share = torch.minimum(place, 4 - place).clamp_(0, 1)
    return (value - value * saturation * share).add_(0.5).floor_()


_JITTER = {"brightness": _brightness, "contrast": _contrast, "saturation": _saturation, "hue": _hue}


def _blur(levels: Tensor, steps: list[AugmentParams]) -> Tensor:
    """Gaussian blur of levels (B,3,H,W), each image with its own sigma."""
    if all(step.blur == "off" for step in steps):
        return levels
    count, channels, height, width = levels.shape
    radius = gaussian_radius(GAUSSIAN_SIGMAS[1])
    kernels = [_gaussian(step.sigma, radius) for step in steps for _ in range(channels)]
    weights = torch.tensor(np.stack(kernels), dtype=torch.float32).to(levels.device, non_blocking=True)
    groups = count * channels
    levels = F.pad(levels.view(1, groups, height, width), (radius, radius, radius, radius), mode="replicate")
    levels = F.conv2d(levels, weights.view(groups, 1, 1, -1), groups=groups)
    return F.conv2d(levels, weights.view(groups, 1, -1, 1), groups=groups).view(count, channels, height, width)


def _gaussian(sigma: float, radius: int) -> np.ndarray:
    """Weights of 2 x `radius` + 1 pixels, zero beyond four sigmas."""
    offsets = np.arange(-radius, radius + 1)
    weights = np.where(np.abs(offsets) <= gaussian_radius(sigma), np.exp(-0.5 * (offsets / sigma) ** 2), 0)
    return weights / weights.sum()
