"""Resizing in half precision, and its gradient by matrix products, against PyTorch's own in float64."""

import pytest
import torch
import torch.nn.functional as F

from utils.resizing import Resize, resize, shrink

SIZES = [((8, 8), (32, 32)), ((1, 1), (7, 9)), ((6, 10), (23, 5)), ((16, 12), (8, 6)), ((5, 5), (1, 1))]
LAYOUTS = [torch.contiguous_format, torch.channels_last]


def interpolate(x, size):
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


def pass_of(function, x, grad, layout, dtype):
    """A result, and the gradient of x for `grad`, which is a part of a larger map's."""
    x = x.to(dtype).contiguous(memory_format=layout).requires_grad_()
    y = function(x, grad.shape[-2:])
    y.backward(torch.cat([grad, grad], dim=1).to(dtype).contiguous(memory_format=layout)[:, : x.shape[1]])
    return y.detach(), x.grad


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("size", "resized"), SIZES)
@pytest.mark.parametrize("function", [resize, Resize.apply])  # of a CPU, and of CUDA
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.bfloat16, 1e-2), (torch.float32, 1e-6), (torch.float64, 1e-14)]
)
def test_values_and_gradients_are_those_of_float64(function, size, resized, layout, dtype, tolerance):
    torch.manual_seed(0)
    x, grad = (torch.randn(2, 6, *side).bfloat16().double() for side in (size, resized))
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
        found = pass_of(function, x, grad, layout, dtype)
    for ours, exact in zip(found, pass_of(interpolate, x, grad, torch.contiguous_format, torch.float64), strict=True):
        assert ours.dtype == dtype
        assert ours.is_contiguous(memory_format=layout) or size == (1, 1)  # where PyTorch can't tell
        assert (ours - exact).norm() <= tolerance * exact.norm()


def test_gradients_sum_in_float32():
    """A thousand ones in bfloat16, which can't tell 256 from 257."""
    grad = torch.ones(1, 3, 32, 32, dtype=torch.bfloat16)
    for layout in LAYOUTS:
        assert shrink(grad, (1, 1), layout is torch.channels_last).unique().tolist() == [1024]


def test_gradients_of_matrix_products_by_differences():
    x = torch.randn(2, 3, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: Resize.apply(x, (7, 5)), x)


def test_float32_is_pytorchs_own_to_the_bit():
    x = torch.randn(2, 5, 9, 11)
    assert torch.equal(resize(x, (20, 31)), interpolate(x, (20, 31)))


@pytest.mark.slow
def test_the_compiler_takes_both_passes_whole():
    x, weight = torch.randn(2, 3, 8, 8).bfloat16(), torch.randn(2, 3, 16, 20).bfloat16()

    def gradient(function):
        leaf = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            y = function(leaf, (16, 20))
        (y * weight).sum().backward()
        return leaf.grad

    compiled = torch.compile(Resize.apply, backend="aot_eager", fullgraph=True)
    assert torch.equal(gradient(compiled), gradient(Resize.apply))
