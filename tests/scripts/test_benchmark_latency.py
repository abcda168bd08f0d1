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

    class Photo:
        def time(self, label):
            calls.append(label)
            return len(calls), 0

    found = latency.sample(Photo(), {"a": "a", "b": "b"}, rounds=5, warmup=1)
    assert "".join(calls) == "aaabbb" * 2 + "aabb"
    assert [labels for labels, _ in found["a"]] == [2, 3, 8, 9, 14] and len(found["b"]) == 5


def test_decoding_and_drawing_are_timed_around_the_labels():
    image, seen = np.full((48, 64, 3), (200, 40, 0), np.uint8), []

    class Drawing:
        def overlay(self, image, labels, steady):
            time.sleep(0.03)

    def label(image):
        time.sleep(0.01)
        seen.append(image)

    labels, drawn = latency.Photo(image, Drawing()).time(label)
    assert 0.01 <= labels < drawn and drawn - labels >= 0.03
    assert seen[0].shape == image.shape and np.abs(seen[0].astype(int) - image).max() < 8  # RGB again


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
        situations = [row, row["drawn"]]
        if name != "plain":
            situations += [row[key] for key in ("busy", "busy_drawn", "cold", "cold_drawn")]
        assert all(0 < values["p50"] <= values["p95"] <= values["p99"] for values in situations)
        assert row["p50"] < row["drawn"]["p50"]
