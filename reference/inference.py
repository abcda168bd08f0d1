"""Multi-scale sliding windows, straightforward: the reference that tests and benchmarks compare with."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.inference.predictor import scaled_size, window_starts
from utils.constants import IMAGENET_MEAN, IMAGENET_STD


@torch.no_grad()
def predict_plain(
    model: Callable[[Tensor], dict],
    image: Tensor,
    crop: int,
    scales: Sequence[float],
    flip: bool,
    overlap: float = 1 / 3,
) -> Tensor:
    """Mean probabilities (1,C,H,W) of a normalised image (1,3,H,W): one window after the other, mirrored ones apart.

    Args:
        model: Maps (1,3,crop,crop) to a dict with `logits` at any stride.
        image: The image.
        crop: Side of a window.
        scales: Scales whose probabilities are averaged.
        flip: Also run each window mirrored.
        overlap: Share of a window that its neighbour repeats.
    """
    size, total = image.shape[-2:], 0
    black = -image.new_tensor(IMAGENET_MEAN) / image.new_tensor(IMAGENET_STD)
    for scale in scales:
        height, width = scaled_size(size, None, scale)
        scaled = F.interpolate(image, (height, width), mode="bilinear", align_corners=True)
        rows, columns = (window_starts(length, crop, overlap) for length in (height, width))
        canvas = black.view(1, 3, 1, 1).repeat(1, 1, rows[-1] + crop, columns[-1] + crop)
        canvas[..., :height, :width] = scaled
        scores, count = 0, torch.zeros_like(canvas[:, :1])
        for y in rows:
            for x in columns:
                window = canvas[..., y : y + crop, x : x + crop]
                share = _shares(model, window)
                if flip:
                    share = (share + _shares(model, window.flip(-1)).flip(-1)) / 2
                scores = scores + F.pad(share, (x, columns[-1] - x, y, rows[-1] - y))
                count[..., y : y + crop, x : x + crop] += 1
        mean = (scores / count)[..., :height, :width]
        total = total + F.interpolate(mean, size, mode="bilinear", align_corners=True)
    return total / len(scales)


def _shares(model: Callable[[Tensor], dict], window: Tensor) -> Tensor:
    logits = F.interpolate(model(window)["logits"], window.shape[-2:], mode="bilinear", align_corners=True)
    return logits.softmax(1)
