"""scripts/benchmark.py latency: quantiles of each arm in each situation."""

import json
import subprocess
import time

import numpy as np
import pytest
import torch

from scripts import benchmark
from scripts.benchmarks import cpu_demo, latency

pytestmark = pytest.mark.usefixtures("small_roofline")


def test_turns_count_each_frame_once_and_leave_warm_up_out(monkeypatch):
    monkeypatch.setattr(latency, "TURN", 2)
    calls = []
    found = latency.sample({name: lambda name=name: calls.append(name) for name in "ab"}, rounds=5, warmup=1)
    assert {name: len(values) for name, values in found.items()} == {"a": 5, "b": 5}
    assert "".join(calls) == "aaabbb" * 2 + "aabb"


def test_quantiles_show_what_a_mean_hides():
    found = latency.quantiles([0.01] * 98 + [1.0, 2.0])
    assert found["p50"] == found["p95"] == 0.01 and 1 < found["p99"] < 2
    assert found["p99"] == np.percentile([0.01] * 98 + [1.0, 2.0], 99)


def test_the_busy_process_computes_and_ends():
    with latency.busy_process():
        pass
    process, popen = [], subprocess.Popen
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", lambda *given: process.append(popen(*given)) or process[0])
        with latency.busy_process():
            time.sleep(0.1)
            assert process[0].poll() is None
    assert process[0].poll() is not None


@pytest.mark.slow
def test_every_runtime_that_is_installed_is_timed(tmp_path, monkeypatch):
    monkeypatch.setattr(cpu_demo, "NUM_IMAGES", 4)
    monkeypatch.setattr(cpu_demo, "processor", lambda: ("a CPU", 2.0))
    threads = torch.get_num_threads()
    argv = ["latency", "--json", str(tmp_path / "a.json"), "--arch", "fenet_tiny", "--size", "64,96", "--rounds", "2"]
    try:
        assert benchmark.main([*argv, "--warmup", "0"]) == 0
    finally:
        torch.set_num_threads(threads)
    result = json.loads((tmp_path / "a.json").read_text())
    names = {format.replace("-", "_") for format in latency.installed_formats()} | {"plain", "torch", "torch_bf16"}
    assert set(result["arms"]) == names | ({"openvino_bf16", "openvino_bf16_int8"} if "openvino" in names else set())
    assert result["max_error"] < 1e-3 and result["rounds"] == 2
    for name, row in result["arms"].items():
        situations = [row] if name == "plain" else [row, row["drawn"], row["busy"], row["busy_drawn"]]
        assert all(0 < values["p50"] <= values["p95"] <= values["p99"] for values in situations)
        assert name == "plain" or row["cold"] > 0
