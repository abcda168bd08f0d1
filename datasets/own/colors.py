"""Colours of classes: masks in colours -> ids, and colours for classes that have none."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path

import cv2
import numpy as np

from datasets.base import ClassTable, FileSplit
from datasets.file_table import FileTable
from datasets.reading import read_color_label
from utils.errors import DataError

Color = tuple[int, int, int]
NEAR = 16  # of a channel: a colour that is hardly another one


@dataclass(frozen=True)
class ColorCode:
    """What the colours of masks mean.

    Args:
        ids: RGB colour -> original label id.
        names: RGB colour -> class, for messages; not of ignored colours.
        source: The file that says so.
    """

    ids: Mapping[Color, int]
    names: Mapping[Color, str]
    source: Path

    @cached_property
    def _table(self) -> tuple[np.ndarray, np.ndarray]:
        """Packed colours, ascending, and their ids (uint8)."""
        colors = _pack(np.array([list(self.ids)], np.uint8))[0]
        order = np.argsort(colors)
        return colors[order], np.array(list(self.ids.values()), np.uint8)[order]

    def decode(self, pixels: np.ndarray, path: Path) -> np.ndarray:
        """RGB (H,W,3) uint8 -> original ids (H,W) uint8.

        Raises:
            DataError: A colour is no class's and not ignored; the message names `path`, colour, count and remedy.
        """
        known, ids = self._table
        packed = _pack(pixels)
        places = np.searchsorted(known, packed).clip(max=len(known) - 1)
        strange = known[places] != packed
        if strange.any():
            raise self._stranger_error(pixels[strange], path)
        return ids[places]

    def _stranger_error(self, pixels: np.ndarray, path: Path) -> DataError:
        """For unknown colours (N,3): the most frequent one, and the class whose colour it almost is."""
        colors, counts = np.unique(pixels, axis=0, return_counts=True)
        color, pixels_of_it = colors[counts.argmax()].astype(int), counts.max()
        distances = {known: int(np.abs(color - known).max()) for known in self.names}
        nearest = min(distances, key=lambda known: distances[known])
        given = f"{path}: colour {color.tolist()} ({pixels_of_it} pixels) is no class's"
        if len(colors) > 1:
            given += f" (in all {counts.sum()} pixels of {len(colors)} such colours)"
        if distances[nearest] <= NEAR:
            given += f"; {self.names[nearest]!r} is {list(nearest)}, {distances[nearest]} away"
            remedy = "save masks as PNG without smoothing"
        else:
            remedy = "give it a class"
        return DataError(f'{given}; {remedy}, or list the colour under "ignore" in {self.source}')


class ColorSplit(FileSplit):
    """A split whose masks show the classes' colours."""

    def __init__(self, dataset: str, split: str, classes: ClassTable, items: FileTable, code: ColorCode) -> None:
        super().__init__(dataset, split, classes, items)
        self.code, self.label_code = code, f"colors {sorted(code.ids.items())}"

    def read_label_ids(self, path: Path) -> np.ndarray:
        """Ids of the colours (H,W) uint8; a palette or grey mask is what it looks like."""
        return self.code.decode(read_color_label(path), path)


def _pack(pixels: np.ndarray) -> np.ndarray:
    """RGB (H,W,3) uint8 -> one number a colour, uint32 (H,W)."""
    return cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2RGBA).view(np.uint32)[..., 0]


def free_colors(taken: Collection[Color], classes: int) -> list[Color]:
    """A colour for each of so many classes: that of PASCAL VOC for number 1 and up, or, where it is taken, that of the
    next number which no class has. None comes twice."""
    spare = (color for number in count(classes + 1) if (color := _voc_color(number)) not in taken)
    wanted = (_voc_color(number) for number in range(1, classes + 1))
    return [color if color not in taken else next(spare) for color in wanted]


def _voc_color(number: int) -> Color:
    """Three bits of the number at a time, spread over the channels from the top bit down; black for 0."""
    color = [0, 0, 0]
    for level in range(8):
        for channel in range(3):
            color[channel] |= (number >> (3 * level + channel) & 1) << (7 - level)
    return color[0], color[1], color[2]
