"""Augmentation that moves pixels: image and label alike."""

import math

import cv2
import numpy as np
from PIL import Image

from utils.errors import OptionError

Fill = int | tuple[int, int, int]


class RandomScaleCrop:
    """Scales a sample at random and cuts a crop out of it; image bicubic (antialiased), label nearest.

    A sample with a `centroid` gives a crop that contains it, at random around it but shifted to stay inside the image;
    otherwise the place is uniform. A scaled image smaller than the crop is padded on both sides.

    Args:
        crop_size: Side of the crop in pixels, or (height, width).
        scale_min: Least factor; factors are uniform.
        scale_max: Greatest factor.
        pre_size: The short side's length that factors refer to; None: the image's own.
        pad_color: RGB, 0 to 255, of the image's padding.
        ignore_label: Value of the label's padding.

    Raises:
        OptionError: A size or factor is not positive, or `scale_min` exceeds `scale_max`.
    """

    def __init__(
        self,
        crop_size: int | tuple[int, int],
        scale_min: float = 0.5,
        scale_max: float = 2.0,
        pre_size: int | None = None,
        pad_color: tuple[int, int, int] = (0, 0, 0),
        ignore_label: int = 255,
    ) -> None:
        self.crop_size = (crop_size, crop_size) if isinstance(crop_size, int) else tuple(crop_size)
        if min(self.crop_size) < 1:
            raise OptionError(f"--crop_size {crop_size}: must be at least 1 pixel")
        if not (0 < scale_min <= scale_max < math.inf):
            raise OptionError(f"--scale_min {scale_min} --scale_max {scale_max}: need 0 < scale_min <= scale_max")
        if pre_size is not None and pre_size < 1:
            raise OptionError(f"--pre_size {pre_size}: must be at least 1 pixel")
        self.scale_min, self.scale_max, self.pre_size = scale_min, scale_max, pre_size
        self.pad_color, self.ignore_label = pad_color, ignore_label

    def __call__(self, sample: dict, rng: np.random.Generator) -> dict:
        """`image` uint8 (H,W,3), `label` uint8 (H,W) -> the same at the crop's size, without `centroid`."""
        size = sample["image"].shape[:2]
        scale = rng.uniform(self.scale_min, self.scale_max)
        if self.pre_size is not None:
            scale *= self.pre_size / min(size)
        scaled = tuple(max(1, round(side * scale)) for side in size)
        point: list[int | None] = [None, None]
        if sample.get("centroid") is not None:
            x, y = sample["centroid"]
            # a pixel's centre, so that the scaled point shows this very pixel
            point = [int((y + 0.5) * scaled[0] / size[0]), int((x + 0.5) * scaled[1] / size[1])]
        corner = tuple(_place(rng, *args) for args in zip(scaled, self.crop_size, point, strict=True))
        # the crop's place in the scaled image, and the part of it that shows something
        window = [
            slice(max(0, at), min(length, at + crop))
            for at, length, crop in zip(corner, scaled, self.crop_size, strict=True)
        ]
        image = self._pad(_resized_window(sample["image"], scaled, window), window, corner, self.pad_color)
        label = self._pad(_nearest_window(sample["label"], scaled, window), window, corner, self.ignore_label)
        rest = {key: value for key, value in sample.items() if key != "centroid"}
        return rest | {"image": image, "label": label}

    def _pad(self, seen: np.ndarray, window: list[slice], corner: tuple[int, ...], fill: Fill) -> np.ndarray:
        """The whole crop, with what is `seen` of the image in its place."""
        if seen.shape[:2] == self.crop_size:
            return seen
        crop = np.empty((*self.crop_size, *seen.shape[2:]), np.uint8)
        crop[...] = fill
        rows, columns = (slice(part.start - at, part.stop - at) for part, at in zip(window, corner, strict=True))
        crop[rows, columns] = seen
        return crop


def _resized_window(image: np.ndarray, scaled: tuple[int, ...], window: list[slice]) -> np.ndarray:
    """What `window` shows of `image` resized to `scaled`, bicubic and antialiased; only that part is computed."""
    height, width = image.shape[:2]
    rows, columns = window
    # the limits guard against rounding beyond the image
    box = (
        columns.start * width / scaled[1],
        rows.start * height / scaled[0],
        min(columns.stop * width / scaled[1], width),
        min(rows.stop * height / scaled[0], height),
    )
    size = (columns.stop - columns.start, rows.stop - rows.start)
    return np.array(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC, box=box))


def _nearest_window(label: np.ndarray, scaled: tuple[int, ...], window: list[slice]) -> np.ndarray:
    """The same for a label map, nearest pixel; in integers, so that a pixel does not depend on the window."""
    rows, columns = (
        (2 * np.arange(part.start, part.stop) + 1) * side // (2 * length)
        for part, side, length in zip(window, label.shape, scaled, strict=True)
    )
    return label[np.ix_(rows, columns)]


def _place(rng: np.random.Generator, length: int, crop: int, point: int | None) -> int:
    """Where a crop begins along one axis; negative where it is padded."""
    if length <= crop:
        return -((crop - length) // 2)
    if point is None:
        return int(rng.integers(0, length - crop + 1))
    return int(np.clip(rng.integers(point - crop + 1, point + 1), 0, length - crop))


class RandomHorizontalFlip:
    """Mirrors image and label left to right, every second time on average."""

    def __call__(self, sample: dict, rng: np.random.Generator) -> dict:
        """`image` uint8 (H,W,3), `label` uint8 (H,W) -> the same."""
        if rng.random() < 0.5:
            return sample
        return sample | {key: cv2.flip(sample[key], 1) for key in ("image", "label")}
