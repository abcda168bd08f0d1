"""Bicubic scaling of a part of an image, as two products with banded matrices, and nearest-pixel scaling of labels."""

import cv2
import numpy as np
import torch
from torch import Tensor

BLOCK = 32  # outputs per product: larger ones multiply more zeros, smaller ones call more often


def bicubic_source(length: int, scaled: int, part: slice) -> slice:
    """The inputs of an axis that `bicubic_matrix` reads for the outputs `part`."""
    step = length / scaled
    support = 2 * max(step, 1.0)
    low, high = (part.start + 0.5) * step - support + 0.5, (part.stop - 0.5) * step + support + 0.5
    return slice(max(0, int(low)), min(length, int(high)))


def bicubic_matrix(length: int, scaled: int, part: slice, device: torch.device | str = "cpu") -> Tensor:
    """Weights of one axis that is scaled by Pillow's bicubic filter, widened when shrinking so that nothing aliases.

    Args:
        length: Inputs of the axis.
        scaled: Outputs of the whole axis.
        part: The outputs that are wanted.
        device: Where the matrix is made.

    Returns:
        Float32 (outputs, inputs of `bicubic_source`); an output reads few of the inputs, its weights sum to 1.
    """
    step = length / scaled
    stretch, source = max(step, 1.0), bicubic_source(length, scaled, part)
    centers = (torch.arange(part.start, part.stop, device=device).double()[:, None] + 0.5) * step
    lows = (centers - 2 * stretch + 0.5).long().clamp_(min=0)
    highs = (centers + 2 * stretch + 0.5).long().clamp_(max=length)
    inputs = lows + torch.arange(int(4 * stretch) + 2, device=device)
    weights = _cubic((inputs + 0.5 - centers) / stretch) * (inputs < highs)
    weights = (weights / weights.sum(1, keepdim=True)).float()
    matrix = torch.zeros(len(lows), source.stop - source.start, device=device)
    return matrix.scatter_add_(1, (inputs - source.start).clamp_(max=matrix.shape[1] - 1), weights)


def _cubic(x: Tensor) -> Tensor:
    """Keys' kernel with a = -0.5."""
    x = x.abs()
    return torch.where(x < 1, (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2) * (x < 2)


def resize_window(image: np.ndarray, scaled: tuple[int, int], window: tuple[slice, slice]) -> np.ndarray:
    """What `window` shows of RGB uint8 (H,W,3) resized to `scaled`; only that part is computed.

    Equal to Pillow's `resize` of the whole image but for rounding (1 level), because it also rounds to 8 bits between
    columns and rows.
    """
    if tuple(scaled) == image.shape[:2]:
        return image[window]
    axes = list(zip(image.shape, scaled, window, strict=False))
    rows, columns = (bicubic_source(*axis) for axis in axes)
    by_rows, by_columns = (bicubic_matrix(*axis) for axis in axes)
    column_blocks, row_blocks = (_blocks(*axis) for axis in reversed(axes))
    by_columns = by_columns.T
    source = torch.empty(by_rows.shape[1], by_columns.shape[0])
    wide = torch.empty(by_rows.shape[1], by_columns.shape[1])
    narrow, done = torch.empty_like(wide), torch.empty(by_rows.shape[0], by_columns.shape[1])
    planes = []
    for plane in cv2.split(image[rows, columns]):
        source.copy_(torch.from_numpy(plane))
        for outputs, inputs in column_blocks:
            torch.mm(source[:, inputs], by_columns[inputs, outputs], out=wide[:, outputs])
        narrow.copy_(torch.from_numpy(_to_bytes(wide)))
        for outputs, inputs in row_blocks:
            torch.mm(by_rows[outputs, inputs], narrow[inputs], out=done[outputs])
        planes.append(_to_bytes(done))
    return cv2.merge(planes)


def _blocks(length: int, scaled: int, part: slice) -> list[tuple[slice, slice]]:
    """Pieces of the rows of a `bicubic_matrix`, each with the columns where it isn't zero."""
    first, pieces = bicubic_source(length, scaled, part).start, []
    for start in range(part.start, part.stop, BLOCK):
        stop = min(start + BLOCK, part.stop)
        inputs = bicubic_source(length, scaled, slice(start, stop))
        outputs = slice(start - part.start, stop - part.start)
        pieces.append((outputs, slice(inputs.start - first, inputs.stop - first)))
    return pieces


def _to_bytes(levels: Tensor) -> np.ndarray:
    """Float -> uint8, rounded (halves up, as Pillow does) and cut off."""
    return cv2.add(levels.numpy(), 1e-4, dtype=cv2.CV_8U)


def nearest_indices(length: int, scaled: int, part: slice) -> np.ndarray:
    """The input pixel of each output in `part`; summed up from the axis's beginning as Pillow does.

    So a centre on the border of two pixels goes where Pillow's rounding takes it, whatever the part.
    """
    steps = np.full(part.stop, length / scaled)
    steps[0] /= 2
    return np.add.accumulate(steps)[part].astype(int).clip(max=length - 1)


def nearest_window(label: np.ndarray, scaled: tuple[int, int], window: tuple[slice, slice]) -> np.ndarray:
    """What `window` shows of a label map (H,W) uint8 resized to `scaled`, nearest pixel."""
    rows, columns = map(nearest_indices, label.shape, scaled, window)
    # whole rows are copied fast, so columns are picked as rows of the transposed map
    return cv2.transpose(cv2.transpose(label[rows])[columns])
