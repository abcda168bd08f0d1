"""Flow alignment: learn where a coarse map's features belong on a finer grid, and sample them there.

Source: Li et al., Semantic Flow for Fast and Accurate Scene Parsing, ECCV 2020, section 3.2; the gated one: Li et al.,
SFNet: Faster and Accurate Semantic Segmentation via Semantic Flow, IJCV 2024, section 3.3.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from network.layers import up


def warp(x: Tensor, flow: Tensor) -> Tensor:
    """Sample x (N,C,h,w) on the grid of flow (N,2,H,W), displaced by flow in pixels of half that grid: (N,C,H,W).

    Bilinear, zero outside, align_corners=True; the regular grid spans [-1, 1].
    """
    dtype = torch.promote_types(flow.dtype, torch.float32)  # half precision can't tell neighbouring grid points apart
    height, width = flow.shape[-2:]
    ys = torch.linspace(-1, 1, height, dtype=dtype, device=flow.device)
    xs = torch.linspace(-1, 1, width, dtype=dtype, device=flow.device)
    grid = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), dim=-1)
    size = torch.tensor([width, height], dtype=dtype, device=flow.device)
    grid = grid + flow.to(dtype).permute(0, 2, 3, 1) / size
    return F.grid_sample(x.to(dtype), grid, mode="bilinear", align_corners=True).to(x.dtype)


class FlowAlignment(nn.Module):
    """Warp high (N,C,h,w) to the grid of low (N,C,H,W); result (N,C,H,W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.project_high = nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.project_low = nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.flow = nn.Conv2d(channels // 2 * 2, 2, 3, padding=1, bias=False)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """See the class."""
        projected = up(self.project_high(high), low.shape[-2:])
        return warp(high, self.flow(torch.cat([projected, self.project_low(low)], dim=1)))


class GatedDualFlowAlignment(nn.Module):
    """Warp high (N,C,h,w) and low (N,C,H,W) to low's grid and blend them by a gate in (0, 1): (N,C,H,W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.project_high = nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.project_low = nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.flow = nn.Conv2d(channels // 2 * 2, 4, 3, padding=1, bias=False)
        self.gate = nn.Conv2d(4, 1, 3, padding=1, bias=False)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """See the class."""
        projected = up(self.project_high(high), low.shape[-2:])
        flow = self.flow(torch.cat([projected, self.project_low(low)], dim=1))
        pooled = [x.mean(1, keepdim=True) for x in (projected, low)] + [
            x.amax(1, keepdim=True) for x in (projected, low)
        ]
        gate = torch.sigmoid(self.gate(torch.cat(pooled, dim=1)))
        return gate * warp(high, flow[:, :2]) + (1 - gate) * warp(low, flow[:, 2:])
