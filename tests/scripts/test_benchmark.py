import argparse
import copy
import itertools
import json
from dataclasses import replace

import pytest
import torch

from engine.export.parity import Parity
from reference.loss import PlainOhemCrossEntropy
from reference.transforms import augment_plain
from scripts import benchmark
from scripts.benchmarks import arms, cpu_demo, timing
from scripts.benchmarks import data as benchmark_data
from scripts.benchmarks.cpu_demo import check
from scripts.benchmarks.cpu_demo_arms import Plain, Trial
from tests.golden_vectors import load, vectors
from utils.errors import NumericsError

pytestmark = pytest.mark.usefixtures("small_roofline")


@pytest.mark.parametrize("what", ["loss", "hpf", "infer", "eval", "train-step"])
def test_writes_checked_figures(what, tmp_path, monkeypatch):
    monkeypatch.setattr(arms, "EVAL_SCALES", (0.5, 1.5))
    out = tmp_path / "a.json"
    argv = [what, "--json", str(out), "--arch", "fenet_tiny", "--size", "64,64", "--rounds", "2", "--warmup", "1"]
    assert benchmark.main([*argv, "--device", "cpu", "--batch", "2"]) == 0
    result = json.loads(out.read_text())
    assert result["max_error"] < 1e-4 and result["arms"]["plain"]["ratio"] == 1
    assert result["ratio"] == max(row["ratio"] for name, row in result["arms"].items() if name in ("ours", "fused"))
    floors = {name: row["roofline_share"] * row["median"] for name, row in result["arms"].items()}
    assert all(floor == pytest.approx(floors[arms.reference_of(name)]) and floor > 0 for name, floor in floors.items())


@pytest.mark.parametrize("what", ["loss", "hpf"])
def test_ours_in_half_precision_have_the_values_of_plain(what, tmp_path):
    out = tmp_path / "a.json"
    argv = [what, "--json", str(out), "--size", "64,64", "--rounds", "1", "--device", "cpu", "--amp", "bf16"]
    assert benchmark.main(argv) == 0
    assert 1e-6 < json.loads(out.read_text())["max_error"] < 0.02  # rounded once, not other pixels chosen


@pytest.mark.parametrize("what", ["infer", pytest.param("train-step", marks=pytest.mark.slow)])
def test_a_compiled_arm_that_falls_back_is_left_out_and_said(what, tmp_path, monkeypatch, capsys):
    def fails(*_, **__):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(arms, "COMPILED_ON", ("cpu",))
    monkeypatch.setattr(torch, "compile", lambda *_, **__: fails)
    out = tmp_path / "a.json"
    argv = [what, "--json", str(out), "--arch", "fenet_tiny", "--size", "64,64", "--rounds", "1", "--device", "cpu"]
    assert benchmark.main(argv) == 0
    assert list(json.loads(out.read_text())["arms"]) == ["plain", "ours"]
    assert "the compiled arm is left out" in capsys.readouterr().out


def test_data_arms_make_the_plain_samples(tmp_path):
    out = tmp_path / "a.json"
    argv = ["data", "--json", str(out), "--size", "96,192", "--rounds", "1", "--warmup", "0", "--device", "cpu"]
    assert benchmark.main(argv) == 0
    result = json.loads(out.read_text())
    assert list(result["arms"]) == ["plain", "exact", "cache", "device"] and result["max_error"] < 1e-4
    assert result["ratio"] == result["arms"]["exact"]["ratio"] and result["sizes"]["crop"] == 96


def test_samples_that_are_not_plain_s_are_refused(tmp_path, monkeypatch):
    blurred = lambda sample, step: augment_plain(sample, replace(step, sigma=2.0))  # noqa: E731
    monkeypatch.setattr(benchmark_data, "augment_plain", blurred)
    argv = ["data", "--json", str(tmp_path / "a.json"), "--size", "96,192", "--rounds", "1", "--device", "cpu"]
    assert benchmark.main(argv) == 6
    assert not (tmp_path / "a.json").exists()


def test_nan_is_a_wrong_result_too(tmp_path, monkeypatch):
    nan = {"plain": lambda: torch.ones(3), "ours": lambda: torch.full((3,), torch.nan)}
    monkeypatch.setitem(arms.BUILDERS, "loss", lambda options, device: nan)
    assert benchmark.main(["loss", "--json", str(tmp_path / "a.json"), "--size", "64,64", "--device", "cpu"]) == 6
    assert benchmark.main(["loss", "--json", str(tmp_path / "a.json"), "--tolerance", "nan"]) == 2


def test_what_looks_at_memory_is_not_timed(monkeypatch):
    clock = itertools.count()  # a second for each look at it
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(timing, "peak_cpu_bytes", lambda run: timing.time.perf_counter())
    rows = timing.time_arms({"plain": list, "ours": list}, 1, 0, torch.device("cpu"))
    assert [row["median"] for row in rows.values()] == [1, 1]


def test_wrong_result_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(arms.PlainOhemCrossEntropy, "like", lambda other: PlainOhemCrossEntropy(0.1, 10))
    argv = ["loss", "--json", str(tmp_path / "a.json"), "--size", "64,64", "--rounds", "1", "--device", "cpu"]
    assert benchmark.main(argv) == 6
    assert not (tmp_path / "a.json").exists()


@pytest.mark.slow
def test_cpu_demo_arms_give_the_plain_labels(tmp_path, monkeypatch):
    monkeypatch.setattr(cpu_demo, "NUM_IMAGES", 4)
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    pytest.importorskip("openvino")
    threads = torch.get_num_threads()
    monkeypatch.setattr(cpu_demo, "processor", lambda: ("a CPU", 2.0))
    argv = ["cpu-demo", "--json", str(tmp_path / "a.json"), "--arch", "fenet_tiny", "--size", "64,96", "--rounds", "1"]
    try:
        assert benchmark.main([*argv, "--warmup", "0"]) == 0
    finally:
        torch.set_num_threads(threads)
    result = json.loads((tmp_path / "a.json").read_text())
    float32 = ("torch", "onnx", "openvino")
    rounded = ("openvino_int8", "torch_bf16", "openvino_bf16", "openvino_bf16_int8")
    assert tuple(result["arms"]) == ("plain", *float32, *rounded)
    agreements = {name: result["arms"][name]["agreement"] for name in rounded}
    assert all(0.9 < agreements[name] <= 1 and result["arms"][name]["mean_iou"] for name in rounded)
    assert agreements["openvino_int8"] < 1 and agreements["torch_bf16"] < 1  # OpenVINO has bf16 only where the CPU has
    assert result["max_error"] < 1e-3 and result["weights"] == "snapshot" and result["hardware"]["threads"] == 2
    assert result["ratio"] == max(result["arms"][name]["ratio"] for name in float32)


def test_fresh_weights_say_nothing_about_accuracy_and_their_gate_can_fail(tmp_path, monkeypatch):
    for name, value in {"SMALL_ARCH": None, "NUM_DRAWN": 1, "THREADS": 1}.items():
        monkeypatch.setattr(cpu_demo, name, value)
    seen = {}

    def build_trial(model, split, image, *_, bf16):
        torch.manual_seed(0)
        other = copy.deepcopy(model)
        for parameter in other.parameters():
            parameter.data *= 1 + 3e-3 * torch.randn_like(parameter)
        seen["labels"] = Plain(model, (64, 96))
        arms = {"plain": seen["labels"], "torch": Plain(other, (64, 96)) if seen.get("wrong") else seen["labels"]}
        return Trial(arms, image, split.classes, model, tmp_path)

    monkeypatch.setattr(cpu_demo, "build_trial", build_trial)
    argv = ["cpu-demo", "--json", str(tmp_path / "a.json"), "--arch", "fenet_tiny", "--size", "64,96", "--rounds", "1"]
    assert benchmark.main([*argv, "--warmup", "0"]) == 0
    result = json.loads((tmp_path / "a.json").read_text())
    assert result["arms"]["torch"]["agreement"] is None and result["arms"]["torch"]["mean_iou"] is None
    assert result["accuracy"].startswith("not compared")
    seen["wrong"] = True
    assert benchmark.main([*argv, "--warmup", "0"]) == 6  # a third of a percent in the weights


def test_cpu_demo_refuses_other_labels():
    parity = Parity(1, 0.99, None, None)
    options = argparse.Namespace(what="cpu-demo", snapshot=None, tolerance=None)
    check(options, {"openvino_int8": parity, "torch_bf16": parity})  # fresh weights say nothing about them
    with pytest.raises(NumericsError, match="onnx gives other labels"):
        check(options, {"onnx": parity})
    with pytest.raises(NumericsError, match="openvino_int8"):
        check(
            argparse.Namespace(what="cpu-demo", snapshot="a.pth", tolerance=None),
            {"openvino_int8": Parity(1, 0.9, None, None)},
        )


@pytest.mark.parametrize("row", [row for row in load("losses")["cases"] if row["kind"] == "ohem_cross_entropy"])
def test_plain_loss_reaches_the_figures(row):
    logits = torch.tensor(vectors.logits(*row["shape"], row["seed"], row["scale"]))
    labels = torch.tensor(vectors.labels(row["shape"][0], *row["shape"][2:], row["seed"]))
    loss = PlainOhemCrossEntropy(row["thresh"], row["min_kept"])(logits, labels)
    assert loss.item() == pytest.approx(row["loss"], rel=1e-5)  # computed in float32
