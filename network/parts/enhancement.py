"""Feature enhancement: the high-pass filter, and the modules FEM-D (detail) and FEM-S (structure).

Source: Liu, Zhang, Guo, Boosting Semantic Segmentation via Feature Enhancement, ChinaMM 2022, figure "FEM".
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from network.parts.depthwise import depthwise_conv2d
from network.parts.layers import NormLayer, ResidualBlock, conv_bn_relu
from utils.errors import OptionError
from utils.resizing import resize

FILTER_PADDINGS = {"zeros": "constant", "reflect": "reflect"}
FILTER_WEIGHTS = ("trainable", "frozen", "zero_sum")
STRUCTURES = ("highpass", "smooth")  # FEM-S as released, and as in the paper's figure


class FeatureFilter(nn.Module):
    """Trainable depthwise filter D, initially the mean: (N,C,H,W) -> x - D(x), or D(x) when `smooth`.

    The subtraction is fused into the kernel, which costs one convolution and no extra pass over the map. With zero
    padding (as released) the high-pass answers at image borders; `reflect` doesn't.

    Args:
        channels: C.
        kernel_size: Odd side of the filter.
        padding: `zeros` or `reflect`.
        smooth: Return the low-pass D(x) itself: the structure extractor of the paper's figure.
        weights: `trainable` as released; `frozen`: D stays the mean; `zero_sum`: D is trained and always sums to 1, so
            that the high-pass never answers to a constant map.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int = 9,
        padding: str = "zeros",
        smooth: bool = False,
        weights: str = "trainable",
    ) -> None:
        super().__init__()
        self.padding, self.smooth, self.zero_sum = padding, smooth, weights == "zero_sum"
        self.convolve = depthwise_conv2d  # network.kernels.use_kernels sets another one
        mean = torch.full((channels, 1, kernel_size, kernel_size), 1 / kernel_size**2)
        self.weight = nn.Parameter(mean, requires_grad=weights != "frozen")

    def smoothing(self) -> Tensor:
        """D (C,1,k,k): the weight, or with `zero_sum` its projection on the filters that sum to 1."""
        if not self.zero_sum:
            return self.weight
        area = self.weight.shape[-1] ** 2
        return self.weight + (1 - self.weight.sum(dim=(2, 3), keepdim=True)) / area

    def kernel(self) -> Tensor:
        """The fused kernel (C,1,k,k): the identity minus D, or D."""
        smoothing = self.smoothing()
        if self.smooth:
            return smoothing
        kernel = -smoothing
        centre = self.weight.shape[-1] // 2
        impulse = torch.zeros_like(kernel)
        impulse[..., centre, centre] = 1
        return kernel + impulse

    def forward(self, x: Tensor) -> Tensor:
        radius = self.weight.shape[-1] // 2
        if self.padding == "zeros":
            return self.convolve(x, self.kernel(), padding=radius)
        if min(x.shape[-2:]) <= radius:
            raise OptionError(
                f"--filter_padding reflect: a map of {x.shape[-2]}x{x.shape[-1]} is too small for a kernel of"
                f" {self.weight.shape[-1]}; enlarge the images or --crop_size, or use --filter_padding zeros"
            )
        return self.convolve(reflect(x, radius), self.kernel())


def least_side(model: nn.Module) -> int:
    """Least side, in pixels, of images whose maps at stride 32 the filters of `model` can pad by reflection; 0: any."""
    filters = [part for part in model.modules() if isinstance(part, FeatureFilter) and part.padding == "reflect"]
    return max((32 * (part.weight.shape[-1] // 2 + 1) for part in filters), default=0)


def reflect(x: Tensor, radius: int) -> Tensor:
    """x (N,C,H,W) with `radius` more pixels on each side, mirrored at the outermost ones.

    On CUDA with deterministic algorithms on, `reflect_by_selecting` does it: the gradient of `F.pad` is refused there.
    """
    if x.is_cuda and torch.are_deterministic_algorithms_enabled():
        return reflect_by_selecting(x, radius)
    return F.pad(x, [radius] * 4, mode="reflect")


def reflect_by_selecting(x: Tensor, radius: int) -> Tensor:
    """As `reflect`, by selecting rows and columns: their gradient can be deterministic."""
    for dim, last in ((2, x.shape[2] - 1), (3, x.shape[3] - 1)):
        places = torch.arange(-radius, last + radius + 1, device=x.device).abs()
        x = x.index_select(dim, last - (last - places).abs())
    return x


class FeatureEnhancement(nn.Module):
    """Both modules: the features of `guide` and `source` are filtered, fused, and added to `base`.

    Args:
        channels: C of all maps.
        norm_layer: Called with the number of channels.
        filter_options: Keyword arguments of `FeatureFilter`.
    """

    def __init__(self, channels: int, norm_layer: NormLayer, **filter_options) -> None:
        super().__init__()
        self.filter = FeatureFilter(channels, **filter_options)
        self.reduce = conv_bn_relu(2 * channels, channels, 3, norm_layer)
        self.residual = ResidualBlock(channels, norm_layer)
        self.norm = norm_layer(channels)
        self.fuse = conv_bn_relu(channels, channels, 3, norm_layer)

    def enhance(self, filtered: list[Tensor], base: Tensor) -> Tensor:
        """Two filtered maps and the base, all (N,C,H,W) -> (N,C,H,W)."""
        y = self.residual(self.reduce(torch.cat(filtered, dim=1))) + base
        return self.fuse(F.relu(self.norm(y), inplace=True))


class FEMD(FeatureEnhancement):
    """FEM-D, bottom-up: low (N,C,H,W) hands its details to high (N,C,h,w); result (N,C,h,w)."""

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        return self.enhance([self.filter(high), resize(self.filter(low), high.shape[-2:])], high)


class FEMS(FeatureEnhancement):
    """FEM-S, top-down: high (N,C,h,w) hands its structure to low (N,C,H,W); result (N,C,H,W)."""

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        size = low.shape[-2:]
        return self.enhance([self.filter(low), resize(self.filter(high), size)], resize(high, size))
