"""Group norms of half precision, whose formulation for CUDA runs on a CPU too."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from network.parts.group_norm import GroupNorm, HalfGroupNorm


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest difference, over the largest value."""
    expected = expected.detach()
    return float((found.detach().double() - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("offset", [0, 30])  # mean over standard deviation
def test_half_precision_rounds_its_results_and_nothing_else(dtype, layout, offset):
    torch.manual_seed(1)
    x, grad = ((torch.randn(3, 8, 9, 7) + shift).to(dtype, memory_format=layout) for shift in (offset, 0))
    weight, bias = (torch.randn(8, requires_grad=True) for _ in range(2))
    x.requires_grad_()
    precise = [value.detach().double().requires_grad_() for value in (x, weight, bias)]
    expected = F.group_norm(precise[0], 4, *precise[1:], eps=1e-5)
    expected.backward(grad.double())
    found = HalfGroupNorm.apply(x, weight, bias, 4, 1e-5)
    found.backward(grad)
    rounding = 2 * torch.finfo(dtype).eps
    assert error(found, expected) < rounding and error(x.grad, precise[0].grad) < rounding
    assert error(weight.grad, precise[1].grad) < 1e-4 and error(bias.grad, precise[2].grad) < 1e-4
    assert found.dtype == x.grad.dtype == dtype and weight.grad.dtype == bias.grad.dtype == torch.float32
    assert found.stride() == x.grad.stride() == x.stride()


def test_elsewhere_it_is_pytorch_s():
    norm, plain = GroupNorm(4, 8), nn.GroupNorm(4, 8)
    assert list(norm.state_dict()) == list(plain.state_dict())
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.randn(2, 8, 5, 6).to(dtype)
        assert torch.equal(norm(x), plain(x))
