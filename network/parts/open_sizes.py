"""Padding and cutting of maps whose sides an exported graph leaves open.

An exporter keeps a side as an expression such as `32 * ((height + 31) // 32)`. A comparison with another one fixes the
size, unless the exporter can prove it; `F.pad` and slices compare. The selections below don't, and give the same bits.
"""

import contextlib
import sys
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from network.parts.layers import adaptive_average


def has_open_sides(x: Tensor) -> bool:
    """Whether x (N,C,H,W) is being exported with an open height or width."""
    return torch.compiler.is_exporting() and any(isinstance(side, torch.SymInt) for side in x.shape[-2:])


def pad_to_multiple(x: Tensor, multiple: int, least: int = 1) -> Tensor:
    """Pad (N,C,H,W) with zeros at the bottom and the right: sides are multiples of `multiple`, at least `least`."""
    if has_open_sides(x):
        for axis in (2, 3):
            x = _pad_open(x, axis, multiple, least)
        return x
    height, width = (max(-(-side // multiple) * multiple, least) - side for side in x.shape[-2:])
    return F.pad(x, (0, width, 0, height)) if height or width else x


def _pad_open(x: Tensor, axis: int, multiple: int, least: int) -> Tensor:
    side = x.shape[axis]
    count = (side + multiple - 1) // multiple
    if least > multiple:
        count = torch.sym_max(count, -(-least // multiple))
    place = torch.arange(count * multiple, device=x.device)
    inside = (place < side).to(x.dtype)
    return x.index_select(axis, place.clamp(max=side - 1)) * (inside[:, None] if axis == 2 else inside)


def cut_to(x: Tensor, size: Sequence[int]) -> Tensor:
    """The first `size` (height, width) rows and columns of (N,C,h,w)."""
    height, width = size
    if not has_open_sides(x):
        return x[..., :height, :width]
    rows, columns = (torch.arange(side, device=x.device) for side in (height, width))
    return x.index_select(2, rows).index_select(3, columns)


def same_padding(side: int, kernel: int, stride: int, dilation: int = 1) -> int:
    """Zeros with which a convolution of `side` pixels gives ceil(side / stride), as TensorFlow pads; an int, or open.

    Without a maximum where none is needed: no comparison is left in the exported graph.
    """
    reach = dilation * (kernel - 1) + 1
    zeros = ((side + stride - 1) // stride - 1) * stride + reach - side
    return zeros if reach >= stride else max(zeros, 0)


class AveragePool(nn.Module):
    """`nn.AdaptiveAvgPool2d(bins)` by `adaptive_average`, which exporters take for maps of any size."""

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.bins = bins

    def forward(self, x: Tensor) -> Tensor:
        return adaptive_average(x, self.bins)


def open_pools(model: nn.Module) -> None:
    """Replace the adaptive average poolings of `model`, in place, by ones whose input's size may stay open."""
    for name, module in list(model.named_modules()):
        if type(module) is nn.AdaptiveAvgPool2d:
            size = module.output_size
            bins = {size} if isinstance(size, int) else set(size)
            if len(bins) == 1:
                model.set_submodule(name, AveragePool(bins.pop()))


@contextlib.contextmanager
def open_timm_padding() -> Iterator[None]:
    """timm's layers that pad as TensorFlow does take their padding from `same_padding`, whose size may stay open."""
    padding = sys.modules.get("timm.layers.padding")
    if padding is None:  # then no model has such layers
        yield
        return
    theirs, padding.get_same_padding = padding.get_same_padding, same_padding
    try:
        yield
    finally:
        padding.get_same_padding = theirs
