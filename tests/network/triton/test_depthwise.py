"""The depthwise convolution in Triton: in its interpreter, on a GPU if there is one, compiled for others."""

import pytest
import torch

import network
from network.fusing import fuse_for_inference
from tests.ahead_of_time import each_gpu, spilled_bytes
from tests.interpreted import each_way, run_cases

SIZES = dict.fromkeys(("height", "width", "channels", "places"), "i32")


@each_way
def test_cases(way):
    run_cases("tests/network/triton/depthwise_cases.py", way)


def test_a_model_with_its_kernels_is_fused_as_validation_fuses_it():
    pytest.importorskip("triton")
    model, x = network.build_model("fenet_tiny", 3, channels=16).eval(), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = model(x)["logits"]
        fused = fuse_for_inference(network.use_kernels(model, "triton"))
        torch.testing.assert_close(fused(x)["logits"], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@each_gpu
@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
def test_no_kernel_spills(tmp_path, monkeypatch, capability, dtype):
    pytest.importorskip("triton")
    from network.triton import depthwise
    from network.triton.kernels import convolve_kernel, taps_gradient_kernel

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    types = SIZES | {"x": f"*{dtype}", "y": f"*{dtype}", "gradient": f"*{dtype}", "taps": "*fp32", "partial": "*fp32"}
    tile = {"ROWS": depthwise.ROWS, "COLUMNS": depthwise.COLUMNS, "CHANNELS": depthwise.CHANNELS}
    places = {"SLAB": depthwise.SLAB, "CHANNELS": depthwise.TAP_CHANNELS}
    for side, taps in ((9, 128), (15, 256)):
        slab = places | {"SIDE": side, "TAPS": taps, "PLACES": depthwise.AT_A_TIME // taps}
        for kernel, constants in ((convolve_kernel, tile | {"SIDE": side}), (taps_gradient_kernel, slab)):
            own = {name: kind for name, kind in types.items() if name in kernel.arg_names}
            assert spilled_bytes(kernel, capability, own, constants, tmp_path) == 0, (kernel, side)
