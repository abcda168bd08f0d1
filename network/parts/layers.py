"""Small blocks that several modules share. Shapes are (N,C,H,W) throughout."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from network.parts.group_norm import GroupNorm
from utils.resizing import resize

NormLayer = Callable[[int], nn.Module]


def group_norm(groups: int) -> NormLayer:
    """Group norms, which look at one image alone, in the place of batch norms.

    Raises:
        ValueError: When one is built: its channels can't be cut into so many groups.
    """

    def build(channels: int) -> nn.Module:
        if channels % groups:
            raise ValueError(f"--norm_groups {groups}: norms of {channels} channels can't be cut into so many groups")
        return GroupNorm(groups, channels)

    return build


def adaptive_average(x: Tensor, bins: int) -> Tensor:
    """Adaptive average pooling of (N,C,h,w) to (N,C,bins,bins).

    One product with a constant matrix: exact, deterministic on every device, and plain operators for exporters.
    """
    if bins == 1:
        return x.mean(dim=(2, 3), keepdim=True)
    height, width = x.shape[-2:]
    rows, columns = _bin_matrix(height, bins, x), _bin_matrix(width, bins, x)
    areas = (rows[:, None, :, None] * columns[None, :, None, :]).reshape(bins * bins, height * width)
    return (areas @ x.flatten(2).mT).mT.unflatten(2, (bins, bins))  # in channels_last no copy is made


def adaptive_averages(x: Tensor, bins: Sequence[int]) -> list[Tensor]:
    """`adaptive_average` for each number of bins; a GPU reads x once for all, and makes its gradient at once."""
    if not x.is_cuda:
        return [adaptive_average(x, number) for number in bins]
    height, width = x.shape[-2:]
    areas = torch.cat([_area_matrix(number, height, width, x) for number in bins])
    averages = (areas @ x.flatten(2).mT).split([number**2 for number in bins], dim=1)
    return [y.mT.unflatten(2, (number, number)) for y, number in zip(averages, bins, strict=True)]


def _area_matrix(bins: int, height: int, width: int, like: Tensor) -> Tensor:
    """(bins^2, height width): what averages the pixels of each bin, by pooling lines of the identity."""
    lines = [torch.eye(length, dtype=like.dtype, device=like.device)[None] for length in {height, width}]
    pooled = {line.shape[-1]: F.adaptive_avg_pool1d(line, bins)[0].mT for line in lines}
    return (pooled[height][:, None, :, None] * pooled[width][None, :, None, :]).reshape(bins**2, height * width)


def _bin_matrix(length: int, bins: int, like: Tensor) -> Tensor:
    """(bins,length): row i averages pixels floor(i length / bins) up to ceil((i + 1) length / bins).

    Made from tensor operators alone, so that exporters can leave `length` open.
    """
    i, place = torch.arange(bins, device=like.device).unsqueeze(1), torch.arange(length, device=like.device)
    starts, ends = i * length // bins, ((i + 1) * length + bins - 1) // bins
    inside = (place >= starts) & (place < ends)
    return inside.to(like.dtype) / (ends - starts)


def conv_bn_relu(in_channels: int, out_channels: int, kernel_size: int, norm_layer: NormLayer) -> nn.Sequential:
    """Convolution without bias ("same" padding), norm, ReLU: SPEC's CBR k."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False),
        norm_layer(out_channels),
        nn.ReLU(inplace=True),
    )


class ResidualBlock(nn.Module):
    """(N,C,H,W) -> same shape: CBR 3, 3x3 convolution, norm, + input, ReLU."""

    def __init__(self, channels: int, norm_layer: NormLayer) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = norm_layer(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = norm_layer(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(y)) + x, inplace=True)


class PyramidPooling(nn.Module):
    """Pyramid pooling module: (N,C_in,h,w) -> (N,C,h,w).

    Source: Zhao et al., Pyramid Scene Parsing Network, CVPR 2017, section 3.2; with a 1x1 fusion and Dropout2d.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        norm_layer: NormLayer,
        bins: Sequence[int] = (1, 2, 3, 6),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.bins = tuple(bins)
        self.branches = nn.ModuleList(conv_bn_relu(in_channels, channels, 1, norm_layer) for _ in bins)
        self.fuse = conv_bn_relu(in_channels + len(self.bins) * channels, channels, 1, norm_layer)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-2:]
        averages = adaptive_averages(x, self.bins)
        pooled = [resize(cbr(average), size) for average, cbr in zip(averages, self.branches, strict=True)]
        return self.dropout(self.fuse(torch.cat([x, *pooled], dim=1)))
