"""Predictors: normalised images (N,3,H,W) -> class scores (N,C,H,W) at the images' size.

Training's validation, eval.py, demo_folder.py and export share them. Sizes and window placing follow the release's
evaluation (tests/golden/README.md). One score map of an image is alive at a time, two with several scales, a mirrored
whole image or `base_size`.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from engine.inference.certainty import Votes
from engine.inference.score_maps import add_resized, resize, softmax_
from engine.inference.settings import MAX_PIXELS, InferenceSettings
from utils.constants import IMAGENET_MEAN, IMAGENET_STD
from utils.errors import DataError


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
    max_pixels: int = MAX_PIXELS,
) -> "Predictor":
    """Build a predictor; the arguments are those of `Predictor` and `InferenceSettings`.

    Raises:
        OptionError: A value outside its range; the message names the flag.
    """
    settings = InferenceSettings(
        mode, crop_size, base_size, overlap, tuple(scales), flip, merge, window_batch, max_pixels
    )
    return Predictor(model, settings, pad_value)


def black_of(model: Callable[[Tensor], dict]) -> tuple[float, ...]:
    """Black per channel, normalised as `model`'s encoder takes its images; ImageNet's mean and std if it has none."""
    encoder = getattr(model, "encoder", None)
    mean, std = getattr(encoder, "mean", IMAGENET_MEAN), getattr(encoder, "std", IMAGENET_STD)
    return tuple(-m / s for m, s in zip(mean, std, strict=True))


class Predictor:
    """Normalised images (N,3,H,W) -> scores (N,C,H,W).

    Args:
        model: Maps (N,3,h,w) to a dict with `logits` at any stride.
        settings: How images are cut up and scores merged.
        pad_value: Normalised value per channel outside the image; None: black under the mean and std of the model's
            encoder, or of ImageNet where it has none.
    """

    def __init__(
        self,
        model: Callable[[Tensor], dict],
        settings: InferenceSettings,
        pad_value: Sequence[float] | None = None,
    ) -> None:
        self.model, self.settings = model, settings
        self.pad_value = black_of(model) if pad_value is None else tuple(pad_value)

    @property
    def merge(self) -> str:
        """What the scores are, see `InferenceSettings`."""
        return self.settings.merge

    @torch.inference_mode()
    def __call__(self, images: Tensor, votes: Votes | None = None) -> Tensor:
        """Normalised images (N,3,H,W) -> scores (N,C,H,W), higher is likelier; the mean over scales.

        `votes` collects the labels of each pass.

        Raises:
            DataError: The images have more than `max_pixels` pixels, as they come or at one of the scales.
        """
        size, settings = images.shape[-2:], self.settings
        sizes = [scaled_size(size, settings.base_size, scale) for scale in settings.scales]
        self._check_pixels(size, sizes)
        total, crop = None, settings.crop_size or min(size)
        for scaled in sizes:
            x = resize(images, scaled)
            # no name for this scale's scores: it would keep them alive during the next one
            if votes is not None:
                votes.open(scaled)
            whole = settings.mode == "whole"
            total = add_resized(total, self._whole(x, votes) if whole else self._sliding(x, crop, votes), size)
            if votes is not None:
                votes.close(size)
        return total.div_(len(sizes))

    def _check_pixels(self, size: Sequence[int], sizes: Sequence[Sequence[int]]) -> None:
        height, width = max([size, *sizes], key=math.prod)
        if height * width > self.settings.max_pixels:
            raise DataError(
                f"image of {size[1]}x{size[0]} pixels, {width}x{height} at its largest scale: more than --max_pixels"
                f" {self.settings.max_pixels}; raise that if there is the memory, or shrink the image or the scale"
            )

    def _whole(self, x: Tensor, votes: Votes | None) -> Tensor:
        return self._merge(self._runs(x), x.shape[-2:], votes)

    def _runs(self, x: Tensor) -> Iterator[Tensor]:
        """Logits of `x` (N,3,h,w) at the head's stride; with flip first those of its mirror image, mirrored back."""
        if self.settings.flip:
            yield self.model(x.flip(-1))["logits"].flip(-1)
        yield self.model(x)["logits"]

    def _merge(
        self, runs: Iterable[Tensor], size: Sequence[int], votes: Votes | None = None, place: tuple[int, int] = (0, 0)
    ) -> Tensor:
        """Scores (N,C,*size) of a piece, which is at `place`, from the logits of its runs, in a new tensor."""
        total, count = None, 0
        for logits in runs:
            if logits.dtype in (torch.bfloat16, torch.float16):
                logits = logits.float()
            scores = add_resized(None, logits, size)
            if scores is logits:
                scores = logits.clone()  # they may be the model's input, or a buffer that it uses again
            if self.merge != "logit":
                scores = softmax_(scores)
            if votes is not None:
                votes.cast(count, scores, place)
            total = scores if total is None else total.add_(scores)
            count += 1
        return total.exp_() if self.merge == "exp_softmax" else total.div_(count)

    def _sliding(self, images: Tensor, crop: int, votes: Votes | None) -> Tensor:
        height, width = images.shape[-2:]
        rows, columns = (window_starts(length, crop, self.settings.overlap) for length in (height, width))
        padded = self._pad(images, rows[-1] + crop, columns[-1] + crop)
        places = [(y, x) for y in rows for x in columns]
        total = None
        count = images.new_zeros(1, 1, height, width)
        step = self.settings.window_batch
        for start in range(0, len(places), step):
            group = places[start : start + step]
            runs = self._runs(torch.cat([padded[..., y : y + crop, x : x + crop] for y, x in group]))
            # one window after the other comes to full size: its scores are large, its logits are not
            windows = zip(*(logits.split(len(images)) for logits in runs), strict=True)
            for (y, x), window in zip(group, windows, strict=True):
                part = self._merge(window, (crop, crop), votes, (y, x))
                bottom, right = min(y + crop, height), min(x + crop, width)
                if total is None:
                    total = part.new_zeros(len(images), part.shape[1], height, width)
                total[..., y:bottom, x:right] += part[..., : bottom - y, : right - x]
                count[..., y:bottom, x:right] += 1
        return total.div_(count)

    def _pad(self, images: Tensor, height: int, width: int) -> Tensor:
        n, channels, h, w = images.shape
        if (h, w) == (height, width):
            return images
        canvas = images.new_empty(n, channels, height, width)
        for channel, value in enumerate(self.pad_value):  # a tensor of them would have the host wait for the device
            canvas[:, channel] = value
        canvas[..., :h, :w] = images
        return canvas


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
