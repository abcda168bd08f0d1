"""scripts/profile_step.py: every part of the model gets the time of its own operations, forward and backward."""

import json

import pytest
import torch
from torch import nn
from torch.autograd import DeviceType
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile

from scripts import profile_step
from scripts.benchmarks import step_parts


def test_shares_of_a_step(tmp_path, capfd):
    out = tmp_path / "a.json"
    argv = ["--json", str(out), "--arch", "fenet_tiny", "--size", "64,64", "--steps", "1", "--device", "cpu"]
    assert profile_step.main(argv) == 0
    result = json.loads(out.read_text())
    shares = [share for row in result["parts"].values() for share in row.values()]
    assert sum(shares) == pytest.approx(1) and min(shares) >= 0 and result["seconds"] > 0
    assert result["host_waits"] == 0 and "USDT" not in capfd.readouterr().err
    parts = {"encoder", "reduce", "ppm", "fem_d", "fem_s", "head", "aux_heads"}
    assert result["parts"].keys() == parts | {"loss", "optimizer", "other", "unaccounted"}
    assert all(result["parts"][name]["backward"] > 0 for name in parts)
    assert "aten::mkldnn_convolution" in result["operations"]


def test_options_of_train_py_name_the_step(tmp_path):
    out = tmp_path / "a.json"
    argv = ["--json", str(out), "--arch", "fenet_tiny", "--steps", "1", "--device", "cpu", "--classes", "5"]
    more = ["--channels", "16", "--crop_size", "64", "--bs_mult", "3", "--ema", "0.9", "--optimizer", "adamw"]
    assert profile_step.main([*argv, *more, "--amp", "bf16"]) == 0
    result = json.loads(out.read_text())
    assert result["sizes"] == {"size": [64, 64], "batch": 3, "classes": 5} and result["amp"] == "bf16"
    assert result["parts"]["average"]["forward"] > 0


def test_a_part_that_does_all_the_work_has_its_time():
    model = nn.ModuleDict({"small": nn.Linear(2, 512), "large": nn.Linear(512, 4096)})
    step_parts.mark_parts(model)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        model["large"](model["small"](torch.ones(512, 2))).sum().backward()
    parts, _ = step_parts.share_out(profiled.events(), on_device=False)
    assert parts["large", "forward"] > parts["small", "forward"] > 0
    assert parts["large", "backward"] > parts["small", "backward"] > 0


def event(name: str, start: float, end: float, device: DeviceType = DeviceType.CPU, **more) -> FunctionEvent:
    """As PyTorch's profiler lists it on a machine with a GPU; times in microseconds."""
    common = {"id": 1, "thread": 1, "use_device": "cuda", "overload_name": "", "trace_name": name}
    return FunctionEvent(name=name, start_us=start, end_us=end, device_type=device, **common, **more)


def test_a_kernel_counts_once():
    part, operation = event("part: encoder", 0, 100), event("aten::cudnn_convolution", 10, 20, sequence_nr=5)
    operation.append_kernel("sm90_xmma_fprop", 0, 1000)
    operation.set_cpu_parent(part)
    part.append_cpu_child(operation)
    on_device = [event(name, 15, 1015, DeviceType.CUDA) for name in ("sm90_xmma_fprop", "part: encoder")]
    parts, operations = step_parts.share_out([part, operation, *on_device], on_device=True)
    assert parts["encoder", "forward"] == parts.total() == operations["aten::cudnn_convolution"] == 1000
