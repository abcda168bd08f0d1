"""What holds for the depthwise convolution in Triton; `test_depthwise.py` runs this file."""

import argparse
import copy
import json
import logging

import pytest
import torch
import torch.nn.functional as F

import network
from network.parts import depthwise
from network.parts.enhancement import FeatureFilter
from network.triton import depthwise as triton_depthwise
from network.triton.depthwise import depthwise_conv2d, takes
from scripts import benchmark
from scripts.benchmarks.arms import build_hpf_arms
from tests.interpreted import DEVICE
from utils.kernels import can_run

LAST = torch.channels_last


@pytest.fixture(autouse=True)
def float32_convolutions():
    """PyTorch's convolutions in float32 on a GPU too, whose TF32 is coarser than what is compared here."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


def pair(n, channels, height, width, side, dtype=torch.float32):
    random = torch.Generator().manual_seed(0)
    x = torch.randn(n, channels, height, width, generator=random).to(DEVICE, dtype, memory_format=LAST)
    kernel = torch.randn(channels, 1, side, side, generator=random).to(DEVICE)
    return x, kernel


def results(function, x, kernel):
    """Output and both gradients, on the CPU."""
    leaves = [tensor.detach().requires_grad_() for tensor in (x, kernel)]
    y = function(*leaves, kernel.shape[-1] // 2)
    upstream = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y)
    return [tensor.cpu() for tensor in (y.detach(), *torch.autograd.grad(y, leaves, upstream))]


def plain(x, kernel, padding):
    """In float64, whatever the type: what cuDNN makes of float32 depends on its settings."""
    return F.conv2d(x.double(), kernel.double(), padding=padding, groups=x.shape[1]).to(x.dtype)


@pytest.mark.parametrize(
    ("n", "channels", "height", "width", "side"),
    [(1, 3, 5, 11, 9), (2, 33, 3, 3, 3), (1, 2, 1, 1, 5), (2, 1, 6, 4, 1), (1, 2, 4, 257, 3)],
)
def test_equals_conv2d(n, channels, height, width, side):
    x, kernel = pair(n, channels, height, width, side)
    assert takes(x, kernel, side // 2)
    for found, expected in zip(results(depthwise_conv2d, x, kernel), results(plain, x, kernel), strict=True):
        assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_float32(dtype):
    x, kernel = pair(1, 4, 5, 6, 3, dtype)
    found = results(depthwise_conv2d, x, kernel)
    assert [tensor.dtype for tensor in found] == [dtype, dtype, torch.float32]
    for value, expected in zip(found, results(plain, x.float(), kernel), strict=True):
        torch.testing.assert_close(value.float(), expected, rtol=1e-2, atol=5e-2)


def test_autocast_decides_the_type():
    x, kernel = pair(1, 4, 5, 6, 3)
    with torch.autocast(DEVICE, torch.bfloat16):
        assert depthwise_conv2d(x, kernel, 1).dtype == torch.bfloat16


def test_one_gradient_alone_and_a_gradient_in_another_layout():
    x, kernel = pair(1, 2, 3, 4, 3)
    upstream = torch.randn(1, 2, 3, 4, device=DEVICE)
    for leaf, call in ((x.clone(), lambda t: (t, kernel)), (kernel.clone(), lambda t: (x, t))):
        leaf.requires_grad_()
        found, expected = (torch.autograd.grad(f(*call(leaf), 1), leaf, upstream)[0] for f in (depthwise_conv2d, plain))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_two_runs_are_equal():
    x, kernel = pair(1, 3, 6, 7, 3)
    for first, second in zip(results(depthwise_conv2d, x, kernel), results(depthwise_conv2d, x, kernel), strict=True):
        assert torch.equal(first, second)


def test_what_the_kernels_do_not_take_is_torch_s_and_said_once(caplog):
    x, kernel = pair(1, 3, 6, 7, 3)
    others = [(x.contiguous(), kernel, 1), (x, kernel, 0), (x.double(), kernel.double(), 1)]
    for args in others:
        assert not takes(*args)
        torch.testing.assert_close(depthwise_conv2d(*args), depthwise.depthwise_conv2d(*args))
    with caplog.at_level(logging.INFO, "fenet"):
        for _ in range(2):
            depthwise_conv2d(*pair(1, 3, 6, 7, 17), 8)
    (record,) = caplog.records
    assert "--kernels triton" in record.message and "kernel of 17" in record.message


def test_use_kernels_reaches_the_filters():
    model = network.use_kernels(torch.nn.Sequential(FeatureFilter(3, 3)).to(DEVICE), "triton")
    assert can_run(torch.device(DEVICE)) and model[0].convolve is triton_depthwise.depthwise_conv2d
    x, _ = pair(1, 3, 5, 6, 3)
    y = model(x)
    assert copy.deepcopy(model)[0].convolve is model[0].convolve
    assert network.use_kernels(model, "torch")[0].convolve is depthwise.depthwise_conv2d
    torch.testing.assert_close(y, model(x), rtol=1e-5, atol=1e-5)


def test_benchmark_times_an_arm_that_the_ratio_leaves_out(tmp_path):
    out = tmp_path / "a.json"
    argv = ["loss", "--kernels", "triton", "--size", "32,32", "--rounds", "1", "--warmup", "0", "--device", DEVICE]
    assert benchmark.main([*argv, "--json", str(out)]) == 0
    result = json.loads(out.read_text())
    assert list(result["arms"]) == ["plain", "ours", "triton"] and result["ratio"] == result["arms"]["ours"]["ratio"]
    options = argparse.Namespace(size=(4, 4), batch=1, kernels="triton", amp="off")
    arms = build_hpf_arms(options, torch.device(DEVICE))
    assert arms.keys() >= {"triton", "triton_forward"}
    torch.testing.assert_close(arms["triton_forward"](), arms["plain_forward"](), rtol=1e-5, atol=1e-5)
