"""What pads and cuts maps, traced with open sides, beside the same in eager mode."""

import pytest
import torch
from torch import nn
from torch.export import Dim

from network.parts.depthwise_layers import DepthwiseConv2d
from network.parts.open_sizes import cut_to, open_pools, pad_to_multiple, same_padding
from utils.optional import import_torchvision


class Odd(nn.Module):
    """Pads to multiples of 16 and at least 80, convolves as TensorFlow does, pools and cuts."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = DepthwiseConv2d(3, 3, 3, stride=2, groups=3)
        self.conv.same = True
        self.pool = nn.AdaptiveAvgPool2d(3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        padded = pad_to_multiple(x, 16, 80)
        return cut_to(padded, [(side + 3) // 4 for side in x.shape[-2:]]), self.conv(x), self.pool(padded)


def test_open_sides_give_what_eager_mode_gives():
    torch.manual_seed(0)
    model = Odd().eval()
    images = [torch.randn(n, 3, *size) for n, size in ((1, (64, 91)), (2, (129, 81)), (1, (80, 160)))]
    with torch.no_grad():
        expected = [model(x) for x in images]
        open_pools(model)
        sides = {0: Dim("batch", min=1, max=9), 2: Dim("height", min=64, max=999), 3: Dim("width", min=64, max=999)}
        program = torch.export.export(
            model,
            (torch.zeros(2, 3, 70, 85),),
            dynamic_shapes=(sides,),
            prefer_deferred_runtime_asserts_over_guards=True,
        ).module()
        for x, wanted in zip(images, expected, strict=True):
            for found, y in zip(program(x), wanted, strict=True):
                torch.testing.assert_close(found, y, atol=1e-6, rtol=1e-5)


def test_same_padding_is_timms():
    import_torchvision()
    theirs = pytest.importorskip("timm.layers.padding").get_same_padding
    for side in range(1, 40):
        for kernel, stride, dilation in ((1, 1, 1), (1, 2, 1), (2, 2, 1), (3, 1, 2), (3, 2, 1), (5, 2, 1), (7, 4, 2)):
            assert same_padding(side, kernel, stride, dilation) == theirs(side, kernel, stride, dilation)
