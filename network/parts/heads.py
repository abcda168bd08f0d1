"""Heads on encoder features that exist for training only."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from network.parts.layers import NormLayer
from utils.resizing import resize


def auxiliary_head(
    in_channels: int, channels: int, num_classes: int, norm_layer: NormLayer, dropout: float = 0.1
) -> nn.Sequential:
    """(N,in_channels,h,w) -> logits (N,num_classes,h,w) at the same stride."""
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 3, padding=1),
        norm_layer(channels),
        nn.ReLU(inplace=True),
        nn.Dropout2d(dropout),
        nn.Conv2d(channels, num_classes, 1),
    )


class BoundaryHead(nn.Module):
    """Encoder stages 1 (N,C1,H,W) and 2 (N,C2,h,w) -> boundary probability (N,1,H,W) in (0, 1)."""

    def __init__(self, fine_channels: int, coarse_channels: int) -> None:
        super().__init__()
        self.fine = nn.Conv2d(fine_channels, 1, 1)
        self.coarse = nn.Conv2d(coarse_channels, 1, 1)
        self.fuse = nn.Conv2d(2, 1, 1)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        fine, coarse = F.relu(self.fine(fine)), F.relu(self.coarse(coarse))
        return torch.sigmoid(self.fuse(torch.cat([resize(coarse, fine.shape[-2:]), fine], dim=1)))
