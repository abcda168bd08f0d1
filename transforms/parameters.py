"""What is done to one training sample: drawn once, and carried out by any of the pipelines."""

import math
from dataclasses import dataclass

import numpy as np

from utils.errors import OptionError

GAUSSIAN_SIGMAS, BILATERAL_SIGMAS = (0.15, 1.30), (0.05, 0.75)  # pixels
BLURS = {"gaussian": GAUSSIAN_SIGMAS, "bilateral": BILATERAL_SIGMAS, "off": None}


@dataclass(frozen=True)
class AugmentParams:
    """The random choices of one sample; sizes and places are (y, x).

    Args:
        size: Of the image.
        scaled: Of the image after scaling.
        crop: Of the sample.
        corner: Where the crop begins in the scaled image; negative where it is padded.
        flip: Mirrored left to right.
        jitter: (`brightness`, `contrast`, `saturation` or `hue`, factor or shift) in the order of application.
        blur: `gaussian`, `bilateral` or `off`.
        sigma: Of the blur, pixels.
    """

    size: tuple[int, int]
    scaled: tuple[int, int]
    crop: tuple[int, int]
    corner: tuple[int, int]
    flip: bool = False
    jitter: tuple[tuple[str, float], ...] = ()
    blur: str = "off"
    sigma: float = 0.0

    @property
    def window(self) -> tuple[slice, slice]:
        """The rows and columns of the scaled image that the crop shows."""
        places = zip(self.corner, self.scaled, self.crop, strict=True)
        rows, columns = (slice(max(0, at), min(length, at + crop)) for at, length, crop in places)
        return rows, columns

    @property
    def shown(self) -> tuple[slice, slice]:
        """The rows and columns of the crop, before the flip, that show something of the image."""
        rows, columns = (
            slice(part.start - at, part.stop - at) for part, at in zip(self.window, self.corner, strict=True)
        )
        return rows, columns


class RandomAugment:
    """Draws scale, place, flip, colours and blur, in this order, so that equal generators give equal samples.

    A crop with a `centroid` contains it, at random around it but shifted to stay inside the image; otherwise the place
    is uniform. A scaled image smaller than the crop is padded on both sides.

    Args:
        crop_size: Side of the crop in pixels, or (height, width).
        pre_size: The short side's length that scales refer to; None: the image's own.
        scale_min: Least scale; scales are uniform.
        scale_max: Greatest scale.
        color_aug: Strength of the colour jitter: factors are uniform in [1 - strength, 1 + strength] (not below 0), the
            hue turns by a share of the circle uniform in [-strength, strength] (at most half a turn); 0: none.
        blur: `gaussian`, `bilateral` or `off`; sigmas are uniform.

    Raises:
        OptionError: A value is out of range; the message names the flag.
    """

    def __init__(
        self,
        crop_size: int | tuple[int, int],
        pre_size: int | None = None,
        scale_min: float = 0.5,
        scale_max: float = 2.0,
        color_aug: float = 0.25,
        blur: str = "gaussian",
    ) -> None:
        self.crop = (crop_size, crop_size) if isinstance(crop_size, int) else tuple(crop_size)
        if min(self.crop) < 1:
            raise OptionError(f"--crop_size {crop_size}: must be at least 1 pixel")
        if not (0 < scale_min <= scale_max < math.inf):
            raise OptionError(f"--scale_min {scale_min} --scale_max {scale_max}: need 0 < scale_min <= scale_max")
        if pre_size is not None and pre_size < 1:
            raise OptionError(f"--pre_size {pre_size}: must be at least 1 pixel")
        if not 0 <= color_aug < math.inf:
            raise OptionError(f"--color_aug {color_aug}: must not be negative; 0 switches it off")
        if blur not in BLURS:
            known = ", ".join(BLURS)
            raise OptionError(f"blur {blur!r} is not known; use one of {known} (--gblur, --bblur, --no-gblur)")
        self.pre_size, self.scales, self.color_aug, self.blur = pre_size, (scale_min, scale_max), color_aug, blur

    def draw(self, size: tuple[int, int], centroid: tuple[int, int] | None, rng: np.random.Generator) -> AugmentParams:
        """The choices for an image of `size` (height, width); `centroid` is (x, y) in its pixels."""
        scale = rng.uniform(*self.scales)
        if self.pre_size is not None:
            scale *= self.pre_size / min(size)
        scaled = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
        point: list[int | None] = [None, None]
        if centroid is not None:
            # a pixel's centre, so that the scaled point shows this very pixel
            at = zip(reversed(centroid), scaled, size, strict=True)
            point = [int((position + 0.5) * length / side) for position, length, side in at]
        corner = (_place(rng, scaled[0], self.crop[0], point[0]), _place(rng, scaled[1], self.crop[1], point[1]))
        flip = bool(rng.random() >= 0.5)
        jitter = self._draw_jitter(rng) if self.color_aug else ()
        sigma = float(rng.uniform(*BLURS[self.blur])) if BLURS[self.blur] else 0.0
        return AugmentParams(tuple(size), scaled, self.crop, corner, flip, jitter, self.blur, sigma)

    def _draw_jitter(self, rng: np.random.Generator) -> tuple[tuple[str, float], ...]:
        strength, turn = self.color_aug, min(self.color_aug, 0.5)
        steps = [
            (name, float(rng.uniform(max(0.0, 1 - strength), 1 + strength)))
            for name in ("brightness", "contrast", "saturation")
        ]
        steps.append(("hue", float(rng.uniform(-turn, turn))))
        return tuple(steps[i] for i in rng.permutation(len(steps)))


def _place(rng: np.random.Generator, length: int, crop: int, point: int | None) -> int:
    """Where a crop begins along one axis; negative where it is padded."""
    if length <= crop:
        return -((crop - length) // 2)
    if point is None:
        return int(rng.integers(0, length - crop + 1))
    return int(np.clip(rng.integers(point - crop + 1, point + 1), 0, length - crop))
