"""The straightforward formulation of a model's parts: the reference that tests and benchmarks compare with."""

import types

import torch.nn.functional as F
from torch import Tensor, nn

from network.parts.enhancement import FeatureFilter
from network.parts.pyramid_conv import PyramidConv


def plain_filter(layer: FeatureFilter, x: Tensor) -> Tensor:
    """What `layer` computes for x (N,C,H,W), by the definition: x - D(x), D a zero-padded depthwise convolution."""
    smooth = F.conv2d(x, layer.smoothing(), padding=layer.weight.shape[-1] // 2, groups=x.shape[1])
    return smooth if layer.smooth else x - smooth


def make_plain(model: nn.Module) -> nn.Module:
    """Let every (zero-padded) filter of `model`, and its head, compute by the definition, in place."""
    for module in model.modules():
        if isinstance(module, FeatureFilter):
            module.forward = types.MethodType(plain_filter, module)
        if isinstance(module, PyramidConv):
            module.coarse_first = False
    return model
