"""Frames of one drive resemble each other: what a bootstrap may draw on its own are stretches of a drive."""

import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

BLOCK = 20  # frames
FRAME = re.compile(r"(.*[^\W\d].*?)(\d+)", re.DOTALL)  # a drive, which has a letter, and the number of the frame
UNORDERED = ("synthetic",)  # data sets that number their images, where neighbours have nothing in common


def image_blocks(names: Sequence[str], dataset: str) -> tuple[np.ndarray, bool]:
    """Which images are drawn together.

    Images whose names differ only in their last digits are frames of one drive, which is cut into stretches of about
    `BLOCK` consecutive frames. All others are drawn alone; so are all where there would be a single block.

    Args:
        names: Of the images, without extension: `0001TP_006690`.
        dataset: Its registry name.

    Returns:
        The block of each image (N,) int64, from 0 without gaps; and whether any block has several images.
    """
    drives = defaultdict(list)
    for index, name in enumerate(names):
        found = FRAME.fullmatch(name) if dataset not in UNORDERED else None
        drive, frame = (found[1], int(found[2])) if found else (name, -1)
        drives[drive, bool(found)].append((frame, index))
    pieces = []
    for frames in drives.values():
        order = [index for _, index in sorted(frames)]
        pieces += np.array_split(order, max(1, round(len(order) / BLOCK)))
    if len(pieces) < 2:
        return np.arange(len(names)), False
    blocks = np.empty(len(names), np.int64)
    for number, piece in enumerate(pieces):
        blocks[piece] = number
    return blocks, len(pieces) < len(names)
