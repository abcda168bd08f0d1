"""FENet: an encoder, pyramid pooling, detail up the pyramid, structure down it, one head.

Source: Liu, Zhang, Guo, Boosting Semantic Segmentation via Feature Enhancement, ChinaMM 2022.
"""

from torch import Tensor, nn

from network.encoders.resnet import DeepStemResNet
from network.parts.enhancement import FEMD, FEMS
from network.parts.heads import BoundaryHead, auxiliary_head
from network.parts.layers import NormLayer, PyramidPooling, conv_bn_relu
from network.parts.pyramid_conv import PyramidConv
from network.recompute import Unit
from network.release_keys import encoder_rules, map_keys

STRIDES = (4, 8, 16, 32)  # of the encoder's features


class FENet(nn.Module):
    """(N,3,H,W) normalised images -> dict with `logits` (N,num_classes,h,w) at stride 4.

    While training also `aux`: list of (N,num_classes,h,w) at strides 16 and 32 (if built with `aux`), and
    `boundary`: (N,1,h,w) probabilities at stride 4 (if built with `boundary`).

    Args:
        encoder: Returns four feature maps, finest first; has `channels`, `mean`, `std`.
        num_classes: Number of classes.
        channels: C, the width of the decoder.
        norm_layer: Called with the number of channels.
        aux: Build the auxiliary heads.
        boundary: Build the boundary head.
        dropout: Probability of the channel dropouts after the PPM and in the auxiliary heads.
        filter_kernel: Side of the enhancement filter.
        filter_padding: `zeros` as released, or `reflect`, which doesn't answer at image borders.
        filter_weights: `trainable` as released, `frozen` or `zero_sum`; see `FeatureFilter`.
        structure: Filter of FEM-S: `highpass` as released, or `smooth` as in the paper's figure.
        fem_d: Build the detail modules; without them the way up leaves every level as it is.
        fem_s: Build the structure modules; without them the way down does.
        fine_channels: Width of the finest level on the way down and in the head, ours: most of the decoder's work is at
            stride 4. None: C, as in the paper.
    """

    release_unused: tuple[str, ...] = ()  # prefixes in the release's files that no part of its model uses

    def __init__(
        self,
        *,
        encoder: nn.Module,
        num_classes: int,
        channels: int,
        norm_layer: NormLayer = nn.BatchNorm2d,
        aux: bool = True,
        boundary: bool = False,
        dropout: float = 0.1,
        filter_kernel: int = 9,
        filter_padding: str = "zeros",
        filter_weights: str = "trainable",
        structure: str = "highpass",
        fem_d: bool = True,
        fem_s: bool = True,
        fine_channels: int | None = None,
    ) -> None:
        super().__init__()
        if fine_channels is not None and fine_channels < 1:
            raise ValueError("must be at least 1")
        fine = fine_channels or channels
        widths = encoder.channels
        filters = {"kernel_size": filter_kernel, "padding": filter_padding, "weights": filter_weights}
        smooth = structure == "smooth"
        self.encoder = encoder
        self.reduce = nn.ModuleList(conv_bn_relu(width, channels, 1, norm_layer) for width in widths[:3])
        self.ppm = PyramidPooling(widths[3], channels, norm_layer, dropout=dropout)
        self.fem_d = nn.ModuleList(FEMD(channels, norm_layer, **filters) for _ in range(3 if fem_d else 0))
        self.fem_s = nn.ModuleList(
            FEMS(width, norm_layer, smooth=smooth, **filters) for width in ((fine, channels, channels) if fem_s else ())
        )
        narrowed = 0 if fine_channels is None else 2 if fem_s else 1  # the finest level, and what its FEM-S gets
        self.narrow = nn.ModuleList(conv_bn_relu(channels, fine, 1, norm_layer) for _ in range(narrowed))
        self.head = nn.Sequential(
            PyramidConv(STRIDES, (fine, channels, channels, channels), channels),
            norm_layer(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, num_classes, 1),
        )
        self.aux_heads = nn.ModuleList(
            auxiliary_head(width, channels, num_classes, norm_layer, dropout) for width in (widths[2:] if aux else ())
        )
        self.boundary_head = BoundaryHead(widths[0], widths[1]) if boundary else None

    def forward(self, x: Tensor) -> dict[str, Tensor | list[Tensor]]:
        features = self.encoder(x)
        outputs = {"logits": self.head(self.decode(features))}
        if self.training and self.aux_heads:
            outputs["aux"] = [head(f) for head, f in zip(self.aux_heads, features[2:], strict=True)]
        if self.training and self.boundary_head is not None:
            outputs["boundary"] = self.boundary_head(features[0], features[1])
        return outputs

    def decode(self, features: list[Tensor]) -> list[Tensor]:
        """Encoder features -> the four enhanced levels (N,C,h,w) at strides 4 to 32, the first `fine_channels` wide."""
        r = [reduce(f) for reduce, f in zip(self.reduce, features, strict=False)]
        r.append(self.ppm(features[3]))
        for i, fem_d in enumerate(self.fem_d):  # details, bottom-up
            r[i + 1] = fem_d(low=r[i], high=r[i + 1])
        if self.narrow:
            r[0] = self.narrow[0](r[0])
        for i in reversed(range(len(self.fem_s))):  # structure, top-down
            high = self.narrow[1](r[1]) if self.narrow and i == 0 else r[i + 1]
            r[i] = self.fem_s[i](low=r[i], high=high)
        return r

    def checkpoint_units(self) -> list[Unit]:
        """What a training step can compute again; see `checkpoint_activations`."""
        return [*self.encoder.checkpoint_units(), *map(Unit.of, (*self.reduce, *self.fem_d, *self.fem_s))]

    def release_key_map(self) -> dict[str, str]:
        """State-dict key of the authors' release -> our key, for all but the boundary head; {} where it has no such
        model: on another encoder, or with `fine_channels`."""
        if not isinstance(self.encoder, DeepStemResNet) or self.narrow:
            return {}
        rules = [
            *encoder_rules(),
            ("fpn_fe.conv_reduction.3.features.{i}.1.", "ppm.branches.{i}.0."),
            ("fpn_fe.conv_reduction.3.features.{i}.2.", "ppm.branches.{i}.1."),
            ("fpn_fe.conv_reduction.3.fusion.", "ppm.fuse."),
            ("fpn_fe.conv_reduction.{i}.", "reduce.{i}."),
        ]
        for theirs, ours in (("de", "fem_d"), ("se", "fem_s")):
            rules += [
                (f"fpn_fe.{theirs}.{{i}}.0._high_pass_filter.", f"{ours}.{{i}}.filter."),
                (f"fpn_fe.{theirs}.{{i}}.0.conv_bn_relu.", f"{ours}.{{i}}.reduce."),
                (f"fpn_fe.{theirs}.{{i}}.0.res.", f"{ours}.{{i}}.residual."),
                (f"fpn_fe.{theirs}.{{i}}.0.bn_relu.0.", f"{ours}.{{i}}.norm."),
                (f"fpn_fe.{theirs}.{{i}}.0.fusion.", f"{ours}.{{i}}.fuse."),
            ]
        rules += [("conv_last.", "head."), ("dsn.", "aux_heads.")]
        return map_keys((key for key in self.state_dict() if not key.startswith("boundary_head.")), rules)
