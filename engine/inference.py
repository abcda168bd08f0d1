"""Predictors: normalised images (N,3,H,W) -> class scores (N,C,H,W) at the images' size.

Training's validation, eval.py, demo_folder.py and export share them. Sizes and window placing follow the release's
evaluation (tests/golden/README.md).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from utils.errors import OptionError

MODES = ("whole", "sliding")
MERGES = ("prob", "logit", "exp_softmax")
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and std


def build_predictor(
    model: Callable[[Tensor], dict],
    mode: str = "whole",
    crop_size: int | None = None,
    base_size: int | None = None,
    overlap: float = 1 / 3,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    merge: str = "prob",
    pad_value: Sequence[float] | None = None,
    window_batch: int = 4,
) -> Callable[[Tensor], Tensor]:
    """Build a predictor.

    Args:
        model: Maps (N,3,h,w) to a dict with `logits` at any stride.
        mode: `whole` (each scale in one piece) or `sliding` (square windows).
        crop_size: Side of a window at every scale; None: the short side of the images as they come.
        base_size: Long side at scale 1; None: the image's own.
        overlap: Share of a window that its neighbour repeats, in [0, 1).
        scales: Scales whose scores are merged.
        flip: Also run each piece mirrored.
        merge: `prob` (mean softmax), `logit` (mean logits) or `exp_softmax` (the release's).
        pad_value: Normalised value per channel outside the image; None: black under the mean and std of the model's
            encoder, or of ImageNet where it has none.
        window_batch: Windows per forward pass.

    Raises:
        OptionError: A value outside its range; the message names the flag.
    """
    if mode not in MODES:
        raise OptionError(f"--inference_mode {mode}: choose one of {', '.join(MODES)}")
    if merge not in MERGES:
        raise OptionError(f"--merge {merge}: choose one of {', '.join(MERGES)}")
    if not scales or min(scales) <= 0:
        raise OptionError(f"--scales {tuple(scales)}: give one or more positive numbers")
    if not 0 <= overlap < 1:
        raise OptionError(f"--sliding_overlap {overlap}: must be at least 0 and less than 1")
    for flag, value in (("--crop_size", crop_size), ("--base_size", base_size), ("--window_batch", window_batch)):
        if value is not None and value < 1:
            raise OptionError(f"{flag} {value}: must be at least 1")
    pad_value = black_of(model) if pad_value is None else tuple(pad_value)
    return Predictor(model, mode, crop_size, base_size, overlap, tuple(scales), flip, merge, pad_value, window_batch)


def black_of(model: Callable[[Tensor], dict]) -> tuple[float, ...]:
    """Black per channel, normalised as `model`'s encoder takes its images; ImageNet's mean and std if it has none."""
    encoder = getattr(model, "encoder", None)
    mean, std = (getattr(encoder, name, value) for name, value in zip(("mean", "std"), IMAGENET, strict=True))
    return tuple(-m / s for m, s in zip(mean, std, strict=True))


@dataclass
class Predictor:
    """See `build_predictor`."""

    model: Callable[[Tensor], dict] = field(repr=False)
    mode: str
    crop_size: int | None
    base_size: int | None
    overlap: float
    scales: tuple[float, ...]
    flip: bool
    merge: str
    pad_value: tuple[float, ...]
    window_batch: int

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Normalised images (N,3,H,W) -> scores (N,C,H,W), higher is likelier; the mean over scales."""
        size = images.shape[-2:]
        total = None
        for scale in self.scales:
            scaled = _resize(images, scaled_size(size, self.base_size, scale))
            scores = self._piece(scaled) if self.mode == "whole" else self._sliding(scaled, self.crop_size or min(size))
            scores = _resize(scores, size)
            total = scores if total is None else total.add_(scores)
        return total / len(self.scales)

    def _piece(self, x: Tensor) -> Tensor:
        """Scores of one piece (N,3,h,w) in one forward pass per orientation."""
        scores = self._run(x)
        if self.flip:
            scores = scores + self._run(x.flip(-1)).flip(-1)
            if self.merge != "exp_softmax":
                scores = scores / 2
        return scores.exp() if self.merge == "exp_softmax" else scores

    def _run(self, x: Tensor) -> Tensor:
        logits = self.model(x)["logits"]
        if logits.dtype in (torch.bfloat16, torch.float16):
            logits = logits.float()
        logits = _resize(logits, x.shape[-2:])
        return logits if self.merge == "logit" else logits.softmax(dim=1)

    def _sliding(self, images: Tensor, crop: int) -> Tensor:
        height, width = images.shape[-2:]
        rows, columns = (window_starts(length, crop, self.overlap) for length in (height, width))
        padded = self._pad(images, rows[-1] + crop, columns[-1] + crop)
        places = [(y, x) for y in rows for x in columns]
        total = None
        count = images.new_zeros(1, 1, height, width)
        for start in range(0, len(places), self.window_batch):
            group = places[start : start + self.window_batch]
            scores = self._piece(torch.cat([padded[..., y : y + crop, x : x + crop] for y, x in group]))
            for (y, x), part in zip(group, scores.split(len(images)), strict=True):
                bottom, right = min(y + crop, height), min(x + crop, width)
                if total is None:
                    total = part.new_zeros(len(images), part.shape[1], height, width)
                total[..., y:bottom, x:right] += part[..., : bottom - y, : right - x]
                count[..., y:bottom, x:right] += 1
        return total / count

    def _pad(self, images: Tensor, height: int, width: int) -> Tensor:
        n, channels, h, w = images.shape
        canvas = images.new_tensor(self.pad_value).view(1, channels, 1, 1).repeat(n, 1, height, width)
        canvas[..., :h, :w] = images
        return canvas


def _resize(x: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=True)


def scaled_size(size: Sequence[int], base_size: int | None, scale: float) -> tuple[int, int]:
    """(height, width) after scaling: the long side is ceil(base_size x scale), the short one keeps the ratio."""
    height, width = size
    long, short = max(height, width), min(height, width)
    new_long = math.ceil((base_size or long) * scale)
    new_short = max(1, int(new_long * short / long + 0.5))
    return (new_short, new_long) if height <= width else (new_long, new_short)


def window_starts(length: int, crop: int, overlap: float) -> list[int]:
    """First pixels of the windows along one axis; the last window may overhang."""
    stride = max(1, int(round(crop * (1 - overlap), 6)))
    return [i * stride for i in range(max(0, math.ceil((length - crop) / stride)) + 1)]
