"""Do the crops and tiles of training fit the images?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from datasets.checks.findings import Finding
from utils.errors import OptionError

MUCH_PADDING = 0.3
SCALES = 33
CROP_STEP = 32

Sizes = Sequence[tuple[int, int]]  # (height, width) of images


@dataclass(frozen=True)
class Crop:
    """How training crops are made: (height, width), the range of random scales, the short side before scaling."""

    size: tuple[int, int]
    scales: tuple[float, float]
    pre_size: int | None = None

    def whole(self, size: tuple[int, int]) -> tuple[int, int]:
        """Size of an image that is trained on whole."""
        scale = 1.0 if self.pre_size is None else self.pre_size / min(size)
        return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def check_crop(sizes: Sizes, crop: Crop) -> Finding:
    """How much of a training crop is padding, see `padded_share`."""
    share, short = padded_share(sizes, crop), _short_side(sizes)
    what = f"--crop_size {crop.size[0]},{crop.size[1]}: on average {share:.0%} of a crop is padding"
    if share <= MUCH_PADDING:
        return Finding("ok", what)
    what += f", which trains nothing; the images' short side is {short}"
    best = max(CROP_STEP, (crop.pre_size or short) // CROP_STEP * CROP_STEP)
    if padded_share(sizes, replace(crop, size=(best, best))) <= MUCH_PADDING:
        return Finding("warning", what, remedy=f"--crop_size {best}")
    return Finding("warning", what, remedy=f"--pre_size {min(crop.size)} enlarges the images; or a greater --scale_min")


def check_whole(sizes: Sizes, crop: Crop, batch: int) -> Finding:
    """Whether `batch` whole images, which an epoch after `--max_crop_epoch` trains on, are of one size."""
    different = len({crop.whole(size) for size in sizes})
    if different == 1 or batch == 1:
        return Finding("ok", "--max_crop_epoch: whole images fit in a batch")
    what = f"--max_crop_epoch --bs_mult {batch}: images of {different} sizes, which fit in no batch"
    return Finding("error", what, remedy="leave --max_crop_epoch out", exit_code=OptionError.exit_code)


def check_tile(sizes: Sizes, tile: int) -> Finding:
    """Whether the tile of class-uniform sampling is smaller than the images."""
    small, short = sum(max(size) <= tile for size in sizes), _short_side(sizes)
    if not small:
        return Finding("ok", f"--class_uniform_tile {tile}: fits into the images")
    what = f"--class_uniform_tile {tile}: {small} of {len(sizes)} images are no larger and become one tile each"
    remedy = f"--class_uniform_tile {max(1, short)} gives finer places to centre crops on" if short < tile else ""
    return Finding("note", what, remedy=remedy)


def padded_share(sizes: Sizes, crop: Crop) -> float:
    """Expected share of a crop's pixels that are padding, over images and uniform random scales."""
    (heights, widths), short = np.array(sizes, float).T, np.min(sizes, axis=1)
    base = crop.pre_size / short if crop.pre_size else np.ones(len(sizes))
    scales = base[:, None] * np.linspace(*crop.scales, SCALES)
    high, wide = (
        np.minimum(1, scales * side[:, None] / most) for side, most in zip((heights, widths), crop.size, strict=True)
    )
    return float(1 - (high * wide).mean())


def _short_side(sizes: Sizes) -> int:
    return int(np.median([min(size) for size in sizes]))
