"""The depthwise convolution's gradients against PyTorch's own."""

import pytest
import torch
import torch.nn.functional as F

from network.parts.depthwise import depthwise_conv2d


@pytest.mark.parametrize(("height", "width"), [(9, 9), (1, 1), (5, 23), (32, 17)])
@pytest.mark.parametrize("size", [1, 3, 5, 7, 9, 11])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("valid", [False, True])
def test_gradients_equal_those_of_conv2d(height, width, size, layout, valid):
    torch.manual_seed(size)
    padding = 0 if valid else size // 2
    if valid:
        height, width = height + size - 1, width + size - 1
    x = torch.randn(2, 6, height, width, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    kernel = torch.randn(6, 1, size, size, dtype=torch.float64, requires_grad=True)
    ours, plain = depthwise_conv2d(x, kernel, padding), F.conv2d(x, kernel, padding=padding, groups=6)
    assert torch.equal(ours, plain)
    weight = torch.randn_like(plain)
    for found, expected in zip(
        torch.autograd.grad((ours * weight).sum(), (x, kernel)),
        torch.autograd.grad((plain * weight).sum(), (x, kernel)),
        strict=True,
    ):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_float32_stays_within_rounding_of_float64():
    torch.manual_seed(0)
    x, weight = torch.randn(2, 16, 40, 56), torch.randn(2, 16, 40, 56)
    kernel = torch.randn(16, 1, 9, 9)

    def gradients(dtype):
        leaves = [t.to(dtype).requires_grad_() for t in (x, kernel)]
        return torch.autograd.grad((depthwise_conv2d(*leaves, 4) * weight.to(dtype)).sum(), leaves)

    for found, expected in zip(gradients(torch.float32), gradients(torch.float64), strict=True):
        assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_a_kernel_alone_an_input_alone_and_neither():
    x, kernel = torch.randn(1, 4, 12, 12), torch.randn(4, 1, 9, 9)
    plain = F.conv2d(x, kernel, padding=4, groups=4)
    assert torch.equal(depthwise_conv2d(x, kernel, 4), plain)
    leaf = kernel.clone().requires_grad_()
    depthwise_conv2d(x, leaf, 4).sum().backward()
    assert leaf.grad is not None
    leaf = x.clone().requires_grad_()
    depthwise_conv2d(leaf, kernel, 4).sum().backward()
    assert leaf.grad is not None
