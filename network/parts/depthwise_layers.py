"""Depthwise layers of other libraries' models, computed by our own depthwise convolution."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from network.parts.half_depthwise import convolve_half, is_cpu_half, trains_in_half
from network.parts.open_sizes import same_padding


class DepthwiseConv2d(nn.Conv2d):
    """A convolution of each channel alone with a square kernel, (N,C,H,W) -> (N,C,H',W').

    Under bfloat16 autocast on a CPU it trains by `convolve_half`, and predicts in float32: a fifth to a half of the
    labels that bfloat16 changes come from the rounding of its few weights. Otherwise it is PyTorch's, to the bit.
    """

    same = False  # padded as TensorFlow does, for ceil(side / stride) pixels; an odd zero comes behind

    def forward(self, x: Tensor) -> Tensor:
        (side, _), (stride, _), (rows, columns) = self.kernel_size, self.stride, self.padding
        padding = (columns, columns, rows, rows)
        if self.same:
            rows, columns = (same_padding(length, side, stride) for length in x.shape[-2:])
            padding = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
        if trains_in_half(x):
            return convolve_half(x, self.weight, self.bias, stride, padding)
        if self.same:
            x, rows, columns = F.pad(x, padding), 0, 0
        if is_cpu_half(x):
            with torch.autocast("cpu", enabled=False):
                return F.conv2d(x.float(), self.weight, self.bias, stride, (rows, columns), groups=self.groups)
        return F.conv2d(x, self.weight, self.bias, stride, (rows, columns), groups=self.groups)


def use_own_depthwise(model: nn.Module) -> nn.Module:
    """`model` itself, with its depthwise convolutions of the class above.

    Only their class changes: parameters, names and hooks stay. Dilated ones and kernels that aren't square stay too.
    """
    for module in model.modules():
        same = type(module).__name__ == "Conv2dSame"  # timm's; the package may not be there
        if (same or type(module) is nn.Conv2d) and _is_depthwise(module):
            module.__class__, module.same = DepthwiseConv2d, same
    return model


def _is_depthwise(conv: nn.Conv2d) -> bool:
    return (
        1 < conv.groups == conv.in_channels == conv.out_channels
        and conv.kernel_size[0] == conv.kernel_size[1]
        and conv.stride[0] == conv.stride[1]
        and conv.dilation == (1, 1)
        and conv.padding_mode == "zeros"
        and not isinstance(conv.padding, str)
        and max(conv.padding) < conv.kernel_size[0]
    )
