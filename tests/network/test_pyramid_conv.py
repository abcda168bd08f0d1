import copy

import pytest
import torch
import torch.nn.functional as F

from network.parts.pyramid_conv import PyramidConv, concatenate
from reference.network import make_plain


def build_levels(strides: tuple[int, ...], size: tuple[int, int]) -> list[torch.Tensor]:
    """Maps of 5 channels as the encoders give them for an image of 4 x `size`."""
    sides = [[-(-4 * side // stride) for side in size] for stride in strides]
    return [torch.randn(2, 5, *side, requires_grad=True) for side in sides]


def enlarged_first(layer: PyramidConv, levels: list[torch.Tensor]) -> torch.Tensor:
    """The definition."""
    return F.conv2d(concatenate(levels), layer.weight, layer.bias, padding=1)


@pytest.mark.parametrize("strides", [(4, 8, 16, 32), (4, 16), (4, 8)])
@pytest.mark.parametrize("size", [(16, 24), (17, 23), (9, 40), (2, 3), (1, 1)])
@pytest.mark.parametrize("bias", [True, False])
def test_result_and_gradients_are_those_of_the_convolution_of_enlarged_levels(strides, size, bias):
    layer, levels = PyramidConv(strides, 5, 6, bias), build_levels(strides, size)
    wanted = [*levels, *layer.parameters()]
    results = [layer(levels), enlarged_first(layer, levels)]
    direction = torch.randn_like(results[0])
    gradients = [torch.autograd.grad(result, wanted, direction) for result in results]
    for value, expected in zip((results[0], *gradients[0]), (results[1], *gradients[1]), strict=True):
        assert (value - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize("half", [False, True])
def test_levels_of_different_widths(half):
    layer, levels = PyramidConv((4, 8, 16, 32), (3, 5, 5, 7), 6), build_levels((4, 8, 16, 32), (17, 23))
    levels = [levels[0][:, :3], *levels[1:3], torch.cat([levels[3], levels[3][:, :2]], 1)]
    expected = enlarged_first(layer, levels)
    if half:
        layer, levels = layer.bfloat16(), [level.bfloat16() for level in levels]
    torch.testing.assert_close(layer(levels).float(), expected, rtol=0, atol=0.05 if half else 1e-5)


def test_layout_and_large_maps():
    layer = PyramidConv((4, 8, 16, 32), 5, 6).to(memory_format=torch.channels_last)
    levels = [x.to(memory_format=torch.channels_last) for x in build_levels((4, 8, 16, 32), (131, 517))]
    with torch.no_grad():
        result = layer(levels)
        torch.testing.assert_close(result, enlarged_first(layer, levels), rtol=1e-5, atol=2e-5)
    assert result.is_contiguous(memory_format=torch.channels_last)


def test_coarse_levels_are_convolved_as_they_are():
    """The result alone wouldn't tell whether anything is saved: no convolution sees all the enlarged levels."""
    layer, levels = PyramidConv((4, 8, 16, 32), 5, 6), build_levels((4, 8, 16, 32), (16, 24))
    widths = []

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            if func is torch.nn.functional.conv2d:
                widths.append(tuple(args[0].shape[1:]))
            return func(*args, **(kwargs or {}))

    with Watch():
        layer(levels)
    assert sorted(widths) == [(5, 2, 3), (5, 4, 6), (10, 16, 24)]


@pytest.mark.parametrize("size", [(17, 130), (2, 3), (1, 1)])
def test_autocast_rounds_the_result_alone(size):
    strides, results = (4, 8, 16, 32), []
    layer = PyramidConv(strides, 5, 6).to(memory_format=torch.channels_last)
    levels = [x.to(memory_format=torch.channels_last) for x in build_levels(strides, size)]
    for call in (layer, lambda x: enlarged_first(layer, x)):
        with torch.autocast("cpu", torch.bfloat16, enabled=call is layer):
            y = call(levels)
        results.append((y, *torch.autograd.grad(y.float().square().sum(), [*levels, layer.weight])))
    assert (results[0][0].dtype, results[0][0].shape) == (torch.bfloat16, results[1][0].shape)
    for found, exact in zip(*results, strict=True):
        assert (found - exact).norm() <= 1e-2 * exact.norm()


def test_double_precision_and_plain_models_take_the_definition():
    layer, levels = PyramidConv((4, 16), 5, 6), build_levels((4, 16), (16, 24))
    plain = make_plain(copy.deepcopy(layer))
    assert torch.equal(plain(levels), enlarged_first(layer, levels))
    layer, levels = layer.double(), [level.double() for level in levels]
    assert torch.equal(layer(levels), enlarged_first(layer, levels))
