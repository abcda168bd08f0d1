"""What is done to one training sample: sampled once, and carried out by any of the pipelines."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from transforms.corruptions import STRENGTHS
from transforms.options import AugmentOptions

GAUSSIAN_SIGMAS, BILATERAL_SIGMAS = (0.15, 1.30), (0.05, 0.75)  # pixels
BORDER = 2  # pixels beyond a turned crop that its bicubic interpolation reads
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
        corruption: Name, strength and seed of what comes last; None: nothing.
        angle: By which the crop is turned about its centre, before it is mirrored: degrees, counter-clockwise.
    """

    size: tuple[int, int]
    scaled: tuple[int, int]
    crop: tuple[int, int]
    corner: tuple[int, int]
    flip: bool = False
    jitter: tuple[tuple[str, float], ...] = ()
    blur: str = "off"
    sigma: float = 0.0
    corruption: tuple[str, int, int] | None = None
    angle: float = 0.0

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

    @property
    def surrounded(self) -> "AugmentParams":
        """With a crop as large as is seen of the image once it is turned, about the same centre; not turned itself."""
        turn = math.radians(self.angle)
        across, along = abs(math.cos(turn)), abs(math.sin(turn))
        height, width = self.crop
        needed = height * across + width * along, width * across + height * along
        margins = [max(0, math.ceil((far - side) / 2)) + BORDER for far, side in zip(needed, self.crop, strict=True)]
        crop = tuple(side + 2 * margin for side, margin in zip(self.crop, margins, strict=True))
        corner = tuple(at - margin for at, margin in zip(self.corner, margins, strict=True))
        return replace(self, crop=crop, corner=corner, angle=0.0, flip=False)


class RandomAugment:
    """Samples scale, place, flip, colours, blur, corruption, turn, in this order: equal generators, equal samples.

    A crop with a `centroid` contains it, at random around it but shifted to stay inside the image; otherwise the place
    is uniform. A scaled image smaller than the crop is padded on both sides. Angles are uniform; a crop that a turn
    would take its centroid from isn't turned.

    Scales are uniform, sigmas of the blur too. With strength s = `color_aug` the colour jitter's factors are uniform in
    [1 - s, 1 + s] (not below 0), and the hue turns by a share of the circle uniform in [-s, s] (at most half a turn).

    After epoch `max_crop_epoch` a sample is the whole image, scaled by `pre_size` only, mirrored, turned and coloured
    as before.
    """

    def __init__(self, options: AugmentOptions) -> None:
        crop = options.crop_size
        self.options, self.crop = options, (crop, crop) if isinstance(crop, int) else tuple(crop)

    def sample(
        self, size: tuple[int, int], centroid: tuple[int, int] | None, rng: np.random.Generator, epoch: int = 0
    ) -> AugmentParams:
        """The choices for an image of `size` (height, width); `centroid` is (x, y) in its pixels."""
        options = self.options
        whole = options.trains_whole(epoch)
        scale = 1.0 if whole else rng.uniform(options.scale_min, options.scale_max)
        if options.pre_size is not None:
            scale *= options.pre_size / min(size)
        scaled = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
        crop = scaled if whole else self.crop
        point: list[int | None] = [None, None]
        if centroid is not None:
            # a pixel's centre, so that the scaled point shows this very pixel
            at = zip(reversed(centroid), scaled, size, strict=True)
            point = [int((position + 0.5) * length / side) for position, length, side in at]
        corner = (_place(rng, scaled[0], crop[0], point[0]), _place(rng, scaled[1], crop[1], point[1]))
        flip = bool(rng.random() >= 0.5) and self.options.mirror
        jitter = self._sample_jitter(rng) if self.options.color_aug else ()
        blur = self.options.blur
        sigma = float(rng.uniform(*BLURS[blur])) if BLURS[blur] else 0.0
        corruption = self._sample_corruption(rng) if self.options.augment_corruption else None
        angle = float(rng.uniform(-self.options.rotate, self.options.rotate)) if self.options.rotate else 0.0
        angle = angle if centroid is None or _keeps(angle, point, corner, crop) else 0.0
        return AugmentParams(tuple(size), scaled, crop, corner, flip, jitter, blur, sigma, corruption, angle)

    def _sample_jitter(self, rng: np.random.Generator) -> tuple[tuple[str, float], ...]:
        strength = self.options.color_aug
        turn = min(strength, 0.5)
        steps = [
            (name, float(rng.uniform(max(0.0, 1 - strength), 1 + strength)))
            for name in ("brightness", "contrast", "saturation")
        ]
        steps.append(("hue", float(rng.uniform(-turn, turn))))
        return tuple(steps[i] for i in rng.permutation(len(steps)))

    def _sample_corruption(self, rng: np.random.Generator) -> tuple[str, int, int] | None:
        if rng.random() >= self.options.augment_corruption:
            return None
        names = self.options.sampled_corruptions
        return names[rng.integers(len(names))], int(rng.choice(STRENGTHS)), int(rng.integers(2**32))


def _keeps(angle: float, point: Sequence[int], corner: Sequence[int], crop: Sequence[int]) -> bool:
    """Whether a pixel (y, x) of the scaled image is still in the crop once that is turned."""
    turn = math.radians(angle)
    y, x = (at - start - (side - 1) / 2 for at, start, side in zip(point, corner, crop, strict=True))
    turned = y * math.cos(turn) - x * math.sin(turn), x * math.cos(turn) + y * math.sin(turn)
    return all(abs(place) <= (side - 1) / 2 for place, side in zip(turned, crop, strict=True))


def _place(rng: np.random.Generator, length: int, crop: int, point: int | None) -> int:
    """Where a crop begins along one axis; negative where it is padded."""
    if length <= crop:
        return -((crop - length) // 2)
    if point is None:
        return int(rng.integers(0, length - crop + 1))
    return int(np.clip(rng.integers(point - crop + 1, point + 1), 0, length - crop))
