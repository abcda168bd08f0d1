"""How are turned photos and images of more than 8 bits read?"""

from collections.abc import Iterator

import numpy as np

from datasets.base import FileSplit, Split
from datasets.checks.findings import Finding, many
from datasets.decoding import SINGLE_DEEP, UPRIGHT
from datasets.index import SplitIndex
from datasets.orientation import labels_are_upright
from datasets.part import SubsetSplit
from datasets.pixel_rules import PixelRules

READ = {True: "turned upright", False: "read as they are stored"}


def check_pixels(split: Split, index: SplitIndex) -> Iterator[Finding]:
    """One finding for each rule that this split's images need; files are looked at only where one does."""
    if (rules := _rules(split)) is not None:
        yield from _check_turned(split.split, rules, index)
        yield from _check_deep(split.split, rules, index)


def read_sizes(split: Split, index: SplitIndex) -> np.ndarray:
    """(height, width) of the images as they are read, int32 (N,2): turned where the split's photos are."""
    sizes, rules = index.image_sizes.copy(), _rules(split)
    if rules is not None:
        for i in np.flatnonzero(index.orientations >= 5).tolist():
            told = _told_by_sizes(index, i)
            if rules.turn_rule.upright if told is None else told:
                sizes[i] = sizes[i, ::-1].copy()
    return sizes


def _rules(split: Split) -> PixelRules | None:
    """Of the files that a split, or a part of one, reads; None: it reads none."""
    while isinstance(split, SubsetSplit):
        split = split.whole
    return split.rules if isinstance(split, FileSplit) else None


def _told_by_sizes(index: SplitIndex, i: int) -> bool | None:
    image, label = tuple(index.image_sizes[i].tolist()), tuple(index.label_sizes[i].tolist())
    return labels_are_upright(image, label, int(index.orientations[i]))


def _check_turned(name: str, rules: PixelRules, index: SplitIndex) -> Iterator[Finding]:
    told = [_told_by_sizes(index, i) for i in np.flatnonzero(index.orientations != UPRIGHT).tolist()]
    for upright in (True, False):
        if count := told.count(upright):
            what = f"{name}: {many(count, 'photo')} with an EXIF orientation {READ[upright]}"
            yield Finding("note", f"{what}, as the sizes of the labels say")
    if count := told.count(None):
        rule = rules.turn_rule
        what = f"{name}: {many(count, 'photo')} with an EXIF orientation {READ[rule.upright]}: {rule.reason}"
        if rule.is_known:
            yield Finding("note", what)
        else:
            remedy = (
                "look at some (scripts/show_samples.py); where labels and photos differ, save the photos upright and"
                " without EXIF (mogrify -auto-orient *.jpg)"
            )
            yield Finding("warning", what, remedy=remedy)


def _check_deep(name: str, rules: PixelRules, index: SplitIndex) -> Iterator[Finding]:
    floats = sum(mode == "F" for mode in index.image_modes)
    integers = sum(mode in SINGLE_DEEP or mode.endswith(";16") for mode in index.image_modes) - floats
    if floats and rules.float_range:
        largest = rules.float_range
        scaled = "multiplied by 255" if largest == 1 else "rounded"
        yield Finding("note", f"{name}: {many(floats, 'float image')} of 0 to {largest}, {scaled}")
    if integers and rules.integer_range:
        largest = rules.integer_range
        what = f"{name}: {many(integers, 'image')} of more than 8 bits, scaled so that {largest} becomes 255"
        yield Finding("note", f"{what}: the smallest range ({largest.bit_length()} bits) that holds their values")
