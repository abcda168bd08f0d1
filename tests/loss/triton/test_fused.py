"""The loss in Triton: in its interpreter, where there is a GPU, on it, and compiled for GPUs that aren't here."""

import pytest

from tests.ahead_of_time import each_gpu, spilled_bytes
from tests.interpreted import each_way, run_cases

TYPES = dict.fromkeys(("h", "w", "height", "width", "ignore_label"), "i32")
TYPES |= {f"{kind}_{side}": "i32" for kind in ("stride", "out") for side in "ncyx"}
TYPES |= dict.fromkeys(("scale_y", "scale_x", "inverse_y", "inverse_x"), "fp32")
TYPES |= {"labels": "*i64"} | dict.fromkeys(("values", "log_sums", "factor"), "*fp32")


@each_way
def test_cases(way):
    run_cases("tests/loss/triton/fused_cases.py", way)


@pytest.mark.slow
@each_gpu
@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
def test_no_kernel_spills(tmp_path, monkeypatch, capability, dtype):
    pytest.importorskip("triton")
    from loss.triton import fused
    from loss.triton.kernels import cross_entropy_kernel, gradient_kernel

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    blocks = {"classes": 19, "CLASSES": fused.CLASSES}
    spans = blocks | {"CELLS": fused.CELLS, "span_y": 5, "span_x": 5}  # of stride 4
    for kernel, constants in ((cross_entropy_kernel, blocks | {"PIXELS": fused.PIXELS}), (gradient_kernel, spans)):
        types = TYPES | {"logits": f"*{dtype}", "gradient": f"*{dtype}"}
        own = {name: kind for name, kind in types.items() if name in kernel.arg_names}
        assert spilled_bytes(kernel, capability, own, constants, tmp_path) == 0, kernel
