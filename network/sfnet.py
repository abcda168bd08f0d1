"""SFNet, the parent of FENet, and SFNet-Lite: features flow down the pyramid along learned offsets.

Source: Li et al., Semantic Flow for Fast and Accurate Scene Parsing, ECCV 2020; Lite: Li et al., SFNet: Faster and
Accurate Semantic Segmentation via Semantic Flow, IJCV 2024.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from network.encoders.resnet import DeepStemResNet
from network.parts.alignment import FlowAlignment, GatedDualFlowAlignment
from network.parts.heads import auxiliary_head
from network.parts.layers import NormLayer, adaptive_average, conv_bn_relu
from network.parts.pyramid_conv import PyramidConv
from network.recompute import Unit
from network.release_keys import encoder_rules, map_keys
from utils.resizing import resize


class PlainPyramidPooling(nn.Module):
    """SFNet's pyramid pooling: (N,C_in,h,w) -> (N,C,h,w); bins without ReLU, before the input.

    Source: Zhao et al., Pyramid Scene Parsing Network, CVPR 2017, section 3.2.
    """

    def __init__(
        self, in_channels: int, channels: int, norm_layer: NormLayer, bins: Sequence[int], dropout: float
    ) -> None:
        super().__init__()
        self.bins = tuple(bins)
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Conv2d(in_channels, channels, 1, bias=False), norm_layer(channels)) for _ in bins
        )
        self.fuse = conv_bn_relu(in_channels + len(self.bins) * channels, channels, 1, norm_layer)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-2:]
        pooled = [resize(cb(adaptive_average(x, n)), size) for n, cb in zip(self.bins, self.branches, strict=True)]
        return self.dropout(self.fuse(torch.cat([*pooled, x], dim=1)))


class _SFNetBase(nn.Module):
    """What both models share: encoder, pyramid pooling, laterals, head, auxiliary heads; `decode` is their own.

    (N,3,H,W) normalised images -> dict with `logits` (N,num_classes,h,w) at stride 4; while training also `aux`, list
    of (N,num_classes,h,w) at strides 16 and 32, if built with it.

    Args:
        encoder: Returns four feature maps, finest first; has `channels`, `mean`, `std`.
        num_classes: Number of classes.
        channels: C, the width of the decoder.
        norm_layer: Called with the number of channels.
        aux: Build auxiliary heads on encoder stages 3 and 4, as FENet has them.
        dropout: Probability of the channel dropouts.
    """

    lateral_stages: tuple[int, ...]  # encoder stages, from 0
    strides: tuple[int, ...]  # of the levels, of C channels each, that the head reads
    release_unused: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        encoder: nn.Module,
        num_classes: int,
        channels: int,
        norm_layer: NormLayer = nn.BatchNorm2d,
        aux: bool = False,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        widths = encoder.channels
        self.encoder = encoder
        self.ppm = PlainPyramidPooling(widths[3], channels, norm_layer, (1, 2, 3, 6), dropout)
        self.laterals = nn.ModuleList(
            nn.Sequential(nn.Conv2d(widths[i], channels, 1), norm_layer(channels), nn.ReLU(inplace=True))
            for i in self.lateral_stages
        )
        fuse = PyramidConv(self.strides, channels, channels, bias=False)
        self.head = nn.Sequential(
            nn.Sequential(fuse, norm_layer(channels), nn.ReLU(inplace=True)), nn.Conv2d(channels, num_classes, 1)
        )
        self.aux_heads = nn.ModuleList(
            auxiliary_head(width, channels, num_classes, norm_layer, dropout) for width in (widths[2:] if aux else ())
        )

    def forward(self, x: Tensor) -> dict[str, Tensor | list[Tensor]]:
        features = self.encoder(x)
        outputs = {"logits": self.head(self.decode(features))}
        if self.training and self.aux_heads:
            outputs["aux"] = [head(f) for head, f in zip(self.aux_heads, features[2:], strict=True)]
        return outputs

    def checkpoint_units(self) -> list[Unit]:
        """What a training step can compute again; see `checkpoint_activations`."""
        return [*self.encoder.checkpoint_units(), *map(Unit.of, (*self.laterals, *self.aligned_parts()))]

    def release_key_map(self) -> dict[str, str]:
        """State-dict key of the authors' release -> our key, for all but the auxiliary heads; {} on another encoder."""
        if not isinstance(self.encoder, DeepStemResNet):
            return {}
        rules = [
            *encoder_rules(),
            ("head.ppm.stages.{i}.1.", "ppm.branches.{i}.0."),
            ("head.ppm.stages.{i}.2.", "ppm.branches.{i}.1."),
            ("head.ppm.bottleneck.", "ppm.fuse."),
            ("head.fpn_in.{i}.", "laterals.{i}."),
            ("head.conv_last.", "head."),
            *self.release_rules,
        ]
        return map_keys((key for key in self.state_dict() if not key.startswith("aux_heads.")), rules)


class SFNet(_SFNetBase):
    """SFNet: three levels, aligned one after the other. Input, output and options as in the base class."""

    lateral_stages = (0, 1, 2)
    strides = (4, 8, 16, 32)
    release_rules = [
        ("head.fpn_out.{i}.0.", "outputs.{i}."),
        ("head.fpn_out_align.{i}.down_h.", "align.{i}.project_high."),
        ("head.fpn_out_align.{i}.down_l.", "align.{i}.project_low."),
        ("head.fpn_out_align.{i}.flow_make.", "align.{i}.flow."),
    ]

    def __init__(self, *, channels: int, norm_layer: NormLayer = nn.BatchNorm2d, **options) -> None:
        super().__init__(channels=channels, norm_layer=norm_layer, **options)
        self.align = nn.ModuleList(FlowAlignment(channels) for _ in self.lateral_stages)
        self.outputs = nn.ModuleList(conv_bn_relu(channels, channels, 3, norm_layer) for _ in self.lateral_stages)

    def aligned_parts(self) -> list[nn.Module]:
        """The modules between the laterals and the head."""
        return [*self.align, *self.outputs]

    def decode(self, features: list[Tensor]) -> list[Tensor]:
        """Encoder features -> the four levels (N,C,h,w), finest first."""
        f = self.ppm(features[3])
        levels = [f]
        for i in reversed(range(3)):
            lateral = self.laterals[i](features[i])
            f = lateral + self.align[i](lateral, f)
            levels.insert(0, self.outputs[i](f))
        return levels


class SFNetLite(_SFNetBase):
    """SFNet-Lite: one gated alignment at stride 4. Input, output and options as in the base class."""

    lateral_stages = (0, 2)
    strides = (4, 16)
    release_unused = ("head.dsn.", "head.fpn_in.2.")
    release_rules = [
        ("head.flow_align_module.down_h.", "align.project_high."),
        ("head.flow_align_module.down_l.", "align.project_low."),
        ("head.flow_align_module.flow_make.", "align.flow."),
        ("head.flow_align_module.flow_gate.0.", "align.gate."),
    ]

    def __init__(self, *, channels: int, **options) -> None:
        super().__init__(channels=channels, **options)
        self.align = GatedDualFlowAlignment(channels)

    def aligned_parts(self) -> list[nn.Module]:
        """The modules between the laterals and the head."""
        return [self.align]

    def decode(self, features: list[Tensor]) -> list[Tensor]:
        """Encoder features -> the aligned level (N,C,h,w) and stage 3's lateral, at strides 4 and 16."""
        fine, middle = (lateral(features[i]) for lateral, i in zip(self.laterals, self.lateral_stages, strict=True))
        return [self.align(fine, self.ppm(features[3])), middle]
