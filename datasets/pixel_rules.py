"""How the unusual images of a split are read, one rule for all: photos stored turned, pixels of more than 8 bits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from datasets.decoding import UPRIGHT, Header, read_header
from datasets.deep import file_range
from datasets.orientation import is_clear, labels_are_upright, upright_fit
from datasets.reading import read_image
from utils.errors import DataError, OptionError

if TYPE_CHECKING:
    from datasets.base import FileItem, FileSplit

MAX_HEADERS, MAX_COMPARED, MAX_DEEP = 1000, 16, 32  # files that a rule is found from, evenly spaced over the split


@dataclass(frozen=True)
class TurnRule:
    """How photos are read that aren't stored upright, where the sizes of image and label don't tell.

    Attributes:
        upright: They are turned upright; otherwise the stored pixels are taken.
        is_known: Something told so.
        reason: What, in words.
    """

    upright: bool
    is_known: bool
    reason: str


class PixelRules:
    """The rules of a split, found when the first image needs them, from the files alone: every process finds the same.

    Args:
        split: The images of its `rules_from`, where it has one, decide before its own.
    """

    def __init__(self, split: FileSplit) -> None:
        self.split = split

    def read(self, index: int) -> np.ndarray:
        """RGB image (H,W,3) uint8, turned as its label is. Raises `DataError` if it can't be read."""
        item = self.split.items[index]
        return read_image(item.image, partial(self.is_upright, item), self.largest)

    def size(self, index: int) -> tuple[int, int]:
        """(height, width) of what `read` gives, from the headers alone. Raises `DataError` if one can't be read."""
        item = self.split.items[index]
        header = read_header(item.image)
        return header.upright_size if header.orientation >= 5 and self.is_upright(item, header) else header.size

    def is_upright(self, item: FileItem, header: Header) -> bool:
        """Whether this photo, which isn't stored upright, is turned upright: as the sizes say, else the rule."""
        told = _told_by_sizes(item, header)
        return self.turn_rule.upright if told is None else told

    def largest(self, header: Header) -> int | None:
        """The value of an image with more than 8 bits that becomes 255; None: it decides for itself."""
        return self.float_range if header.mode == "F" else self.integer_range

    @cached_property
    def turn_rule(self) -> TurnRule:
        """The rule for photos whose sizes don't tell."""
        for rules in self._deciding:
            if rules._own_turn_rule is not None:
                return rules._own_turn_rule
        if self.split.has_labels:
            return TurnRule(False, False, "none is among those that were looked at")
        return TurnRule(True, True, "no label says otherwise")

    @cached_property
    def integer_range(self) -> int | None:
        """The largest value of 10 to 16 bits; None without such images."""
        return self._range("integer")

    @cached_property
    def float_range(self) -> int | None:
        """The same of float images: 1 or 255."""
        return self._range("float")

    def found_ranges(self) -> Iterator[tuple[str, int]]:
        """`integers` or `floats`, and the value that becomes 255, of those that an image has asked for so far."""
        for kind, name in (("integers", "integer_range"), ("floats", "float_range")):
            if largest := self.__dict__.get(name):
                yield kind, largest

    @property
    def found(self) -> tuple:
        """All rules, as plain data; empty where all images are stored upright, with 8 bits."""
        if all(header.orientation == UPRIGHT and not _kind(header) for _, header in self._headers.values()):
            return ()
        return self.integer_range, self.float_range, self.turn_rule.upright

    @cached_property
    def _deciding(self) -> list[PixelRules]:
        if self.split.rules_from is None:
            return [self]
        try:
            return [self.split.rules_from().rules, self]
        except (DataError, OptionError):  # the other split isn't there
            return [self]

    def _range(self, kind: str) -> int | None:
        for rules in self._deciding:
            found = [item for item, header in rules._headers.values() if _kind(header) == kind]
            tops = [top for item in _spread(found, MAX_DEEP) if (top := _own_range(item)) is not None]
            if tops:
                return max(tops)
        return None

    @cached_property
    def _headers(self) -> dict[int, tuple[FileItem, Header]]:
        headers = {}
        for index in _spread(range(len(self.split)), MAX_HEADERS):
            item = self.split.items[index]
            try:
                headers[index] = item, read_header(item.image)
            except DataError:  # whoever reads the image says so
                continue
        return headers

    @cached_property
    def _own_turn_rule(self) -> TurnRule | None:
        """What this split's labels tell; None without turned photos that have a label."""
        if not self.split.has_labels:
            return None
        turned = {
            index: _told_by_sizes(item, header)
            for index, (item, header) in self._headers.items()
            if header.orientation != UPRIGHT
        }
        if not turned:
            return None
        known = {answer for answer in turned.values() if answer is not None}
        if len(known) == 1:
            return TurnRule(known.pop(), True, "the sizes of other images and labels say so")
        unknown = [index for index, answer in turned.items() if answer is None]
        fits = [fit for index in _spread(unknown, MAX_COMPARED) if (fit := self._fit(index)) is not None]
        upright = is_clear(fits)
        reason = f"the labels' borders, compared with the edges of {len(fits)} such photos, "
        if upright is None:
            return TurnRule(False, False, f"{reason}tell nothing")
        return TurnRule(upright, True, f"{reason}say so")

    def _fit(self, index: int) -> float | None:
        item, header = self._headers[index]
        try:
            return upright_fit(
                read_image(item.image, upright=False), self.split.load_label_ids(index), header.orientation
            )
        except DataError:
            return None


def _kind(header: Header) -> str:
    return "float" if header.mode == "F" else "integer" if header.is_deep else ""


def _told_by_sizes(item: FileItem, header: Header) -> bool | None:
    if item.label is None or header.orientation < 5:
        return None
    return labels_are_upright(header.size, read_header(item.label).size, header.orientation)


def _own_range(item: FileItem) -> int | None:
    """The range of one image's values; None where it can't be read."""
    try:
        return file_range(item.image)
    except DataError:
        return None


def _spread(things: Sequence, most: int) -> Sequence:
    """At most so many of some things, evenly spaced."""
    if len(things) <= most:
        return things
    return [things[index] for index in np.linspace(0, len(things) - 1, most).round().astype(int).tolist()]
