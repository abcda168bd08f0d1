"""The first convolution of a head, over the levels of a pyramid."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from network.parts.half_depthwise import is_cpu_half
from utils.resizing import resize

COARSE = 4  # times the finest level's stride


class PyramidConv(nn.Conv2d):
    """3x3 convolution over levels (N,C_i,h,w) of a pyramid, finest first, as large as the finest: -> (N,out,H,W).

    On a CPU the coarse levels are convolved before they are enlarged, with the same result; see `convolve_enlarged`.

    Args:
        strides: Of the levels.
        channels: C_i of each level, or one number for all.
        out_channels: Of the result.
        bias: Add one.
    """

    def __init__(
        self, strides: Sequence[int], channels: int | Sequence[int], out_channels: int, bias: bool = True
    ) -> None:
        self.widths = [channels] * len(strides) if isinstance(channels, int) else list(channels)
        super().__init__(sum(self.widths), out_channels, 3, padding=1, bias=bias)
        self.num_fine = sum(stride < COARSE * strides[0] for stride in strides)
        self.coarse_first = self.num_fine < len(strides)  # False: all are enlarged first, on a CPU too

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        finest = levels[0]
        half = is_cpu_half(finest)
        if not (self.coarse_first and (half or _is_cpu_float32(finest))):
            return super().forward(concatenate(levels))
        size, widths = finest.shape[-2:], self.widths
        fine, *coarse = self.weight.split([sum(widths[: self.num_fine]), *widths[self.num_fine :]], 1)
        y = F.conv2d(concatenate(levels[: self.num_fine]), fine, self.bias, padding=1)
        predicts = not torch.is_grad_enabled() and not torch.compiler.is_exporting()
        # training in float32 keeps its sums, and exported graphs theirs
        convolve = convolve_enlarged_last if half or predicts else convolve_enlarged
        return y + convolve(levels[self.num_fine :], coarse, size)


def _is_cpu_float32(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")


def concatenate(levels: Sequence[Tensor]) -> Tensor:
    """Levels (N,C_i,h_i,w_i), finest first -> (N,sum of C_i,H,W), each enlarged to the first one's size."""
    finest, *others = levels
    return torch.cat([finest] + [resize(level, finest.shape[-2:]) for level in others], dim=1)


def convolve_enlarged(levels: Sequence[Tensor], weights: Sequence[Tensor], size: Sequence[int]) -> Tensor:
    """Sum over i of the zero-padded 3x3 convolution of `resize(levels[i], size)` with `weights[i]`, done faster.

    Both steps are linear, so a convolution's nine taps can be taken on the small map, as 1x1 convolutions. Enlarging
    and moving by a tap's place are then one product with a constant matrix along the rows and one along the columns.

    Args:
        levels: (N,C,h_i,w_i).
        weights: (out,C,3,3) each.
        size: (H,W).

    Returns:
        (N,out,H,W)
    """
    height, width = size
    matrices, products = [], []
    for level, weight in zip(levels, weights, strict=True):
        taps = F.conv2d(level, weight.permute(2, 3, 0, 1).flatten(0, 2)[..., None, None]).chunk(9, dim=1)
        beside = [torch.cat(taps[i : i + 3], dim=3) for i in (0, 3, 6)]
        products.append(torch.cat(beside, dim=2) @ _enlarging(level.shape[-1], width, level).T)
        matrices.append(_enlarging(level.shape[-2], height, level))
    return torch.cat(matrices, dim=1) @ torch.cat(products, dim=2)


def convolve_enlarged_last(levels: Sequence[Tensor], weights: Sequence[Tensor], size: Sequence[int]) -> Tensor:
    """As `convolve_enlarged` in channels_last, which takes a third of the copies, with matrices made in float32."""
    matrices, products = [], []
    for level, weight in zip(levels, weights, strict=True):
        n, _, h, w = level.shape
        taps = F.conv2d(level, weight.permute(3, 2, 0, 1).flatten(0, 2)[..., None, None])  # column, row, out
        taps = taps.permute(0, 2, 3, 1).reshape(n * h, w * 3, -1)
        rows = (_taps_last(w, size[1], weight) @ taps).unflatten(2, (3, -1)).transpose(1, 2)
        products.append(rows.reshape(n, h * 3, -1))
        matrices.append(_taps_last(h, size[0], weight))
    y = torch.cat(matrices, dim=1) @ torch.cat(products, dim=1)
    return y.unflatten(2, (size[1], -1)).permute(0, 3, 1, 2)


def _taps_last(length: int, enlarged: int, like: Tensor) -> Tensor:
    """(enlarged, 3 length): the columns of `_enlarging`, those of a pixel side by side."""
    return _enlarging(length, enlarged, like.float()).unflatten(1, (3, length)).mT.flatten(1)


def _enlarging(length: int, enlarged: int, like: Tensor) -> Tensor:
    """(enlarged, 3 length): side by side, matrices M so that M x is `resize(x, enlarged)` moved by -1, 0 and 1.

    Made from tensor operators alone, so that exporters can leave the lengths open.
    """
    options = {"dtype": like.dtype, "device": like.device}
    matrices = []
    for tap in (-1, 0, 1):
        place = torch.arange(enlarged, **options).unsqueeze(1) + tap
        source = place * (length - 1) / max(enlarged - 1, 1)
        weights = (1 - (source - torch.arange(length, **options)).abs()).clamp(min=0)
        inside = (place >= 0) & (place < enlarged)  # beyond are the zeros of the convolution's padding
        matrices.append(weights * inside)
    return torch.cat(matrices, dim=1)
