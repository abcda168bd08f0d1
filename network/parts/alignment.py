"""Flow alignment: learn where a coarse map's features belong on a finer grid, and sample them there.

Source: Li et al., Semantic Flow for Fast and Accurate Scene Parsing, ECCV 2020, section 3.2; the gated one: Li et al.,
SFNet: Faster and Accurate Semantic Segmentation via Semantic Flow, IJCV 2024, section 3.3.
"""

import torch
from torch import Tensor, nn

from utils.errors import OptionError
from utils.resizing import resize

BILINEAR, ZEROS = 0, 0  # as `aten.grid_sampler_2d` numbers modes and paddings


def warp(x: Tensor, flow: Tensor) -> Tensor:
    """Sample x (N,C,h,w) on the grid of flow (N,2,H,W), displaced by flow in pixels of half that grid: (N,C,H,W).

    Bilinear, zero outside, align_corners=True; the regular grid spans [-1, 1]. On CUDA with deterministic algorithms
    on, the sampling is `sample_by_gather`'s, because the gradient of `grid_sampler_2d` adds up in random order there.
    """
    dtype = torch.promote_types(flow.dtype, torch.float32)  # half precision can't tell neighbouring grid points apart
    height, width = flow.shape[-2:]
    ys, xs = (_regular_grid(length, dtype, flow.device) for length in (height, width))
    right, down = flow.to(dtype).unbind(1)
    grid = torch.stack((xs + right / width, ys[:, None] + down / height), dim=-1)
    if x.is_cuda and torch.are_deterministic_algorithms_enabled():
        return sample_by_gather(x.to(dtype), grid).to(x.dtype)
    # `F.grid_sample` itself: on CUDA that would hand maps in channels_last to cuDNN's old sampler
    return torch.ops.aten.grid_sampler_2d(x.to(dtype), grid, BILINEAR, ZEROS, True).to(x.dtype)


def _regular_grid(length: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(length,), evenly spaced from -1 to 1: `torch.linspace`, whose length exporters can't leave open."""
    return (2 * torch.arange(length, dtype=dtype, device=device) - (length - 1)) / max(length - 1, 1)


def sample_by_gather(x: Tensor, grid: Tensor) -> Tensor:
    """`F.grid_sample` (bilinear, zero outside, align_corners=True) by gathers: their gradient can be deterministic.

    Args:
        x: (N,C,h,w) float.
        grid: (N,H,W,2) places (x, y) in [-1, 1] of x, of the same dtype.

    Returns:
        (N,C,H,W).
    """
    n, channels, height, width = x.shape
    columns, rows = ((grid[..., i] + 1) / 2 * (side - 1) for i, side in enumerate((width, height)))
    left, top = columns.floor(), rows.floor()
    right_share, bottom_share = columns - left, rows - top
    flat, total = x.flatten(2), 0
    for row, row_share in ((top, 1 - bottom_share), (top + 1, bottom_share)):
        for column, column_share in ((left, 1 - right_share), (left + 1, right_share)):
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            index = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
            index = index.long().view(n, 1, -1).expand(-1, channels, -1)
            share = (row_share * column_share * inside).view(n, 1, -1)
            total = total + flat.gather(2, index) * share
    return total.view(n, channels, *grid.shape[1:3])


def check_width(channels: int) -> None:
    """Raises `OptionError` where half of the channels, which the flow is made of, are none."""
    if channels < 2:
        raise OptionError(f"--channels {channels}: flow alignment needs at least 2")


class FlowAlignment(nn.Module):
    """Warp high (N,C,h,w) to the grid of low (N,C,H,W); result (N,C,H,W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        check_width(channels)
        self.project_high = nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.project_low = nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.flow = nn.Conv2d(channels // 2 * 2, 2, 3, padding=1, bias=False)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        projected = resize(self.project_high(high), low.shape[-2:])
        return warp(high, self.flow(torch.cat([projected, self.project_low(low)], dim=1)))


class GatedDualFlowAlignment(nn.Module):
    """Warp high (N,C,h,w) and low (N,C,H,W) to low's grid and blend them by a gate in (0, 1): (N,C,H,W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        check_width(channels)
        self.project_high = nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.project_low = nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.flow = nn.Conv2d(channels // 2 * 2, 4, 3, padding=1, bias=False)
        self.gate = nn.Conv2d(4, 1, 3, padding=1, bias=False)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        projected = resize(self.project_high(high), low.shape[-2:])
        flow = self.flow(torch.cat([projected, self.project_low(low)], dim=1))
        pooled = [x.mean(1, keepdim=True) for x in (projected, low)] + [
            x.amax(1, keepdim=True) for x in (projected, low)
        ]
        gate = torch.sigmoid(self.gate(torch.cat(pooled, dim=1)))
        return gate * warp(high, flow[:, :2]) + (1 - gate) * warp(low, flow[:, 2:])
