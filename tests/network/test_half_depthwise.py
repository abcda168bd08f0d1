"""Depthwise convolutions under bfloat16 autocast on a CPU, and the layers of timm that they take the place of."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import network
from network.fusing import fuse_for_inference
from network.parts.depthwise import depthwise_conv2d
from network.parts.depthwise_layers import DepthwiseConv2d, use_own_depthwise
from network.parts.half_depthwise import convolve_half
from network.parts.relu6 import ReLU6, use_own_relu6
from utils.optional import import_extra

PADDINGS = {"none": lambda k: (0,) * 4, "all": lambda k: (k // 2,) * 4, "behind": lambda k: (k // 2 - 1, k // 2) * 2}
HALF = torch.autocast("cpu", torch.bfloat16)


@pytest.mark.parametrize(("height", "width"), [(11, 11), (12, 23), (32, 17)])
@pytest.mark.parametrize("side", [3, 5, 9])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", PADDINGS)
def test_values_and_gradients_are_those_of_float64(height, width, side, stride, padding):
    """Of the same rounded maps, so that what is left is the rounding of the results."""
    torch.manual_seed(side)
    x, kernel = torch.randn(2, 5, height, width).bfloat16(), torch.randn(5, 1, side, side).bfloat16()
    padding = PADDINGS[padding](side)
    results = []
    for dtype in (torch.float32, torch.float64):
        leaves = [value.to(dtype).requires_grad_() for value in (x, kernel, torch.ones(5))]
        if dtype is torch.float32:
            y = convolve_half(*leaves, stride, padding)
            grad = torch.randn(y.shape).bfloat16()
        else:
            y = F.conv2d(F.pad(leaves[0], padding), *leaves[1:], stride, groups=5)
        results.append((y, *torch.autograd.grad(y, leaves, grad.to(y.dtype))))
    assert results[0][0].dtype == torch.bfloat16
    for found, exact in zip(*results, strict=True):
        assert (found - exact).norm() <= 5e-3 * exact.norm()


def test_which_precision_a_filter_has():
    x, kernel = torch.randn(1, 4, 12, 12), torch.randn(4, 1, 9, 9, requires_grad=True)
    with HALF:
        y = depthwise_conv2d(x, kernel, 4)
    y.float().sum().backward()
    assert (y.dtype, kernel.grad.dtype) == (torch.bfloat16, torch.float32)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(16, 16), (15, 22)])
def test_timms_layers_keep_names_and_results(stride, size):
    import_extra("timm", "--backbone")
    from timm.layers import Conv2dSame

    x = torch.randn(2, 6, *size)
    for kind, options in ((Conv2dSame, {}), (nn.Conv2d, {"padding": 2})):
        theirs = kind(6, 6, 5, stride, groups=6, **options)
        ours = use_own_depthwise(nn.Sequential(kind(6, 6, 5, stride, groups=6, **options)))
        ours.load_state_dict({f"0.{name}": value for name, value in theirs.state_dict().items()})
        assert type(ours[0]) is DepthwiseConv2d
        results = []
        for layer in (theirs, ours):
            leaf = x.clone().requires_grad_()
            y = layer(leaf)
            results.append((y, *torch.autograd.grad(y.sum(), [leaf, *layer.parameters()])))
        assert all(map(torch.equal, *results))
        with HALF, torch.no_grad():
            assert torch.equal(ours(x), results[0][0])  # predictions: float32
        with HALF:
            assert (ours(x) - results[0][0]).abs().max() < 0.05


def test_which_layers_are_replaced():
    model = nn.Sequential(
        nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 8, 3, groups=4), nn.Conv2d(4, 4, 3, groups=4, dilation=2),
        nn.Conv2d(4, 4, (1, 7), groups=4), nn.Conv2d(4, 4, 3, groups=4, padding="same"), nn.Conv2d(4, 4, 3), nn.ReLU6(),
    )  # fmt: skip
    use_own_relu6(use_own_depthwise(model))
    assert [type(layer) for layer in model] == [DepthwiseConv2d] + [nn.Conv2d] * 5 + [ReLU6]


@pytest.mark.parametrize("inplace", [False, True])
def test_relu6_is_pytorchs_own_to_the_bit(inplace):
    x = torch.tensor([-1.0, 0.0, 1e-30, 3.0, 5.9999, 6.0, 7.0, torch.nan, torch.inf, -torch.inf])
    results = []
    for layer in (nn.ReLU6(), ReLU6(inplace)):
        leaf = x.clone().requires_grad_()
        y = layer(leaf * 1)
        results.append(torch.stack([y, torch.autograd.grad(y, leaf, torch.arange(1.0, 11))[0]]))
    assert torch.equal(*(result.nan_to_num(99) for result in results))


def test_a_block_in_half_precision_is_near_float32():
    """Values, running statistics and gradients; a whole fresh encoder would make noise of any rounding."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(8, 32, 1), nn.BatchNorm2d(32), nn.ReLU6(), nn.Conv2d(32, 32, 5, 2, 2, groups=32), nn.ReLU6()]
    block = use_own_relu6(use_own_depthwise(nn.Sequential(*layers)))
    x, results = torch.randn(4, 8, 40, 40) + 1, []
    weights = [layer.weight for layer in block if hasattr(layer, "weight")]
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            y = block(x.to(memory_format=torch.channels_last))
        results.append([y, *torch.autograd.grad(y.float().square().sum(), weights)])
        results[-1] += [block[1].running_mean.clone(), block[1].running_var.clone()]
        block[1].reset_running_stats()
    for found, exact in zip(results[1], results[0], strict=True):
        assert (found - exact).norm() <= 6e-2 * exact.norm()


def test_timms_encoder_has_them_and_its_names():
    """The names are timm's, and folding takes the norms behind layers that pad as TensorFlow does."""
    model = network.build_model("fenet", 5, channels=16, backbone="tf_efficientnet_lite0").eval()
    kinds = [type(layer).__name__ for layer in model.encoder.modules()]
    assert (kinds.count("DepthwiseConv2d"), kinds.count("ReLU6"), kinds.count("Conv2dSame")) == (16, 32, 1)
    assert "encoder.model.blocks.1.0.conv_dw.weight" in model.state_dict()
    fused, images = fuse_for_inference(model), torch.randn(1, 3, 64, 96)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in fused.encoder.model.blocks[1][0].modules())
    with torch.no_grad():
        expected = model(images)["logits"]
        assert (fused(images)["logits"] - expected).abs().max() <= 1e-4 * expected.abs().max()
