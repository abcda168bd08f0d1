"""scripts/profile_step.py: every part of the model gets the time of its own operations, forward and backward."""

import json

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from scripts import profile_step


def test_shares_of_a_step(tmp_path):
    out = tmp_path / "a.json"
    argv = ["--json", str(out), "--arch", "fenet_tiny", "--size", "64,64", "--steps", "1", "--device", "cpu"]
    assert profile_step.main(argv) == 0
    result = json.loads(out.read_text())
    shares = [share for row in result["parts"].values() for share in row.values()]
    assert sum(shares) == pytest.approx(1) and min(shares) >= 0 and result["seconds"] > 0
    assert result["host_waits"] == 0
    parts = {"encoder", "reduce", "ppm", "fem_d", "fem_s", "head", "aux_heads"}
    assert result["parts"].keys() == parts | {"loss", "optimizer", "other"}
    assert all(result["parts"][name]["backward"] > 0 for name in parts)
    assert "aten::mkldnn_convolution" in result["operations"]


def test_a_part_that_does_all_the_work_has_its_time():
    model = nn.ModuleDict({"small": nn.Linear(2, 512), "large": nn.Linear(512, 4096)})
    profile_step.mark_parts(model)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        model["large"](model["small"](torch.ones(512, 2))).sum().backward()
    parts, _ = profile_step.share_out(profiled.events(), on_device=False)
    assert parts["large", "forward"] > parts["small", "forward"] > 0
    assert parts["large", "backward"] > parts["small", "backward"] > 0
