import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from network.parts.alignment import FlowAlignment, GatedDualFlowAlignment, sample_by_gather, warp
from utils.errors import OptionError

sides = st.integers(1, 9)


@settings(max_examples=60, deadline=None)
@given(st.tuples(sides, sides), st.tuples(sides, sides), st.floats(0.1, 3), st.integers(0, 2**32 - 1))
def test_gathering_is_grid_sample_with_the_same_gradients(size, grid_size, reach, seed):
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 3, *size, dtype=torch.float64, generator=random)
    grid = reach * (2 * torch.rand(2, *grid_size, 2, dtype=torch.float64, generator=random) - 1)
    weights = torch.randn(2, 3, *grid_size, dtype=torch.float64, generator=random)
    results = []
    for sample in (sample_by_gather, lambda x, grid: F.grid_sample(x, grid, align_corners=True)):
        leaves = x.clone().requires_grad_(), grid.clone().requires_grad_()
        sampled = sample(*leaves)
        (sampled * weights).sum().backward()
        results.append((sampled.detach(), *(leaf.grad for leaf in leaves)))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_warping_samples_the_displaced_grid():
    torch.manual_seed(0)
    x, flow = torch.randn(2, 3, 5, 7), 3 * torch.randn(2, 2, 9, 8)
    ys, xs = torch.meshgrid(*(2 * torch.arange(n) / (n - 1) - 1 for n in (9, 8)), indexing="ij")
    grid = torch.stack((xs + flow[:, 0] / 8, ys + flow[:, 1] / 9), dim=-1)
    torch.testing.assert_close(warp(x, flow), F.grid_sample(x, grid, align_corners=True))


def test_places_far_outside_are_zero():
    x = torch.ones(1, 1, 4, 4)
    grid = torch.tensor([[[[1e9, 0.0], [-1e9, 1e9], [0.0, 0.0]]]])
    assert sample_by_gather(x, grid).flatten().tolist() == [0, 0, 1]


@pytest.mark.parametrize("module", [FlowAlignment, GatedDualFlowAlignment])
def test_one_channel_is_too_few(module):
    with pytest.raises(OptionError, match="--channels 1: flow alignment needs at least 2"):
        module(1)
    assert module(2)(torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 4, 4)).shape == (1, 2, 8, 8)


def test_no_flow_is_plain_upsampling():
    x = torch.randn(1, 2, 3, 5, dtype=torch.float64)
    expected = F.interpolate(x, size=(7, 9), mode="bilinear", align_corners=True)
    torch.testing.assert_close(warp(x, torch.zeros(1, 2, 7, 9, dtype=torch.float64)), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_deterministic_on_cuda():
    torch.manual_seed(0)
    x, flow = torch.randn(2, 8, 16, 16, device="cuda"), 8 * torch.randn(2, 2, 64, 64, device="cuda")
    torch.use_deterministic_algorithms(True)
    try:
        gradients = []
        for _ in range(2):
            leaves = x.clone().requires_grad_(), flow.clone().requires_grad_()
            warp(*leaves).square().sum().backward()
            gradients.append([leaf.grad for leaf in leaves])
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
