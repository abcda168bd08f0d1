"""Residual encoders with a deep stem, dilated as in the release's variant "D" (the strides stay)."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from network.parts.layers import NormLayer
from network.parts.max_pool import max_pool
from network.recompute import Unit, blocks
from utils.constants import IMAGENET_MEAN, IMAGENET_STD

STAGE_DILATION = (1, 1, 2, 4)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: (N,in,H,W) -> (N,planes,H/stride,W/stride).

    Source: He et al., Deep Residual Learning, CVPR 2016, figure 5 left.
    """

    expansion = 1

    def __init__(self, in_channels: int, planes: int, stride: int, dilation: int, norm_layer: NormLayer) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, planes, 3, stride, padding=1, bias=False)
        self.bn1 = norm_layer(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = norm_layer(planes)
        self.downsample = _projection(in_channels, planes, stride, norm_layer)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)), inplace=True)


class Bottleneck(nn.Module):
    """1x1, 3x3 (stride and dilation), 1x1: (N,in,H,W) -> (N,4*planes,H/stride,W/stride).

    Source: He et al., Deep Residual Learning, CVPR 2016, figure 5 right.
    """

    expansion = 4

    def __init__(self, in_channels: int, planes: int, stride: int, dilation: int, norm_layer: NormLayer) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, planes, 1, bias=False)
        self.bn1 = norm_layer(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = norm_layer(planes)
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=False)
        self.bn3 = norm_layer(4 * planes)
        self.downsample = _projection(in_channels, 4 * planes, stride, norm_layer)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)), inplace=True)


def _projection(in_channels: int, out_channels: int, stride: int, norm_layer: NormLayer) -> nn.Sequential | None:
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), norm_layer(out_channels))


class DeepStemResNet(nn.Module):
    """(N,3,H,W) -> four feature maps at strides 4, 8, 16 and 32, finest first.

    Keys and shapes of the 50- and 101-layer encoders equal those of timm's `resnet50s` and `resnet101s`.

    Args:
        block: `BasicBlock` or `Bottleneck`.
        layers: Blocks per stage.
        norm_layer: Called with the number of channels.
        width: Planes of the first stage; the stem ends with twice as many channels.
    """

    mean, std = IMAGENET_MEAN, IMAGENET_STD
    stage_ends = ("layer1", "layer2", "layer3", "layer4")

    def __init__(
        self,
        *,
        block: type[BasicBlock] | type[Bottleneck],
        layers: Sequence[int],
        norm_layer: NormLayer = nn.BatchNorm2d,
        width: int = 64,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(
            nn.Conv2d(3, width, 3, 2, padding=1, bias=False),
            norm_layer(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            norm_layer(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, 2 * width, 3, padding=1, bias=False),
        )
        self.bn1 = norm_layer(2 * width)
        self.depth = 2 + sum(layers) * (2 if block is BasicBlock else 3)
        self.channels = tuple(width * 2**i * block.expansion for i in range(4))
        in_channels = 2 * width
        for i, depth in enumerate(layers):
            blocks = []
            for j in range(depth):
                stride = 2 if i > 0 and j == 0 else 1
                blocks.append(block(in_channels, width * 2**i, stride, STAGE_DILATION[i], norm_layer))
                in_channels = self.channels[i]
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x)
        features = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            features.append(x)
        return features

    def stem(self, x: Tensor) -> Tensor:
        """(N,3,H,W) -> (N,2*width,H/4,W/4)."""
        x = self.bn1(self.conv1(x))
        if self.training:  # the same values and gradients, with the ReLU on a quarter of the map
            return F.relu(max_pool(x), inplace=True)
        return F.max_pool2d(F.relu(x, inplace=True), 3, 2, padding=1)  # runtimes merge convolution and ReLU

    def checkpoint_units(self) -> list[Unit]:
        """What a training step can compute again: the stem and the blocks of the stages."""
        return [Unit(self, "stem", (self.conv1, self.bn1)), *blocks(self)]
