"""scripts/benchmark.py roofline, and shares of it: wrong results are refused, multiply-adds are the definition's."""

import json

import pytest
import torch
from torch import nn

from scripts import benchmark
from scripts.benchmarks import convolutions, roofline
from scripts.benchmarks.shares import Roofline, Work, count_operations

pytestmark = pytest.mark.usefixtures("small_roofline")


def test_arms_and_what_the_table_of_precisions_says(tmp_path, monkeypatch, capsys):
    pytest.importorskip("openvino")
    monkeypatch.setattr(roofline, "processor", lambda: ("a CPU", 1e9))
    monkeypatch.setattr(roofline, "GAIN", 1e6)
    assert benchmark.main(["roofline", "--json", str(tmp_path / "a.json")]) == 0
    result = json.loads((tmp_path / "a.json").read_text())
    kinds = [f"{kind}_{precision}" for kind in ("conv", "product") for precision in ("float32", "bf16", "int8")]
    assert list(result["arms"]) == [*kinds, "memory"] and result["rounds"] == 3
    row = result["arms"]["conv_int8"]
    assert row["rate"] * row["median"] * 1e9 == pytest.approx(2 * 16 * 16 * 9 * 8 * 16)
    assert row["runtime"] in ("torch", "openvino") and 0 < row["error"] < 0.1
    assert not result["bf16"]["agrees"] and "DISAGREES" in capsys.readouterr().out


@pytest.mark.parametrize("precision", ["float32", "bf16", "int8"])
def test_a_runtime_that_computes_something_else_is_refused(precision, monkeypatch):
    right = convolutions.Sample.result
    monkeypatch.setattr(convolutions.Sample, "result", lambda self, times, cut: right(self, times, cut).roll(1, -1))
    with pytest.raises(roofline.NumericsError, match=precision):
        roofline.convolution_row(precision)


@pytest.mark.parametrize("groups", [1, 4])
def test_multiply_adds_of_a_step(groups):
    conv, x = nn.Conv2d(8, 8, 3, padding=1, groups=groups), torch.ones(2, 8, 4, 5, requires_grad=True)
    assert count_operations(lambda: conv(x).sum().backward()) == 3 * 2 * (8 * 8 // groups * 9) * (2 * 4 * 5)


def test_a_share_is_of_the_slower_of_arithmetic_and_memory():
    machine = Roofline()
    machine.rates = {"conv_bf16": 100.0, "memory": 10.0}
    rows = {"a": {"median": 2.0}, "b": {"median": 2.0}}
    works = {"a": Work(10**11, 10**9), "b": Work(10**9, 10**10)}
    machine.add_shares(rows, works, dict.fromkeys(rows, "bf16"))
    assert rows["a"]["roofline_share"] == rows["b"]["roofline_share"] == 0.5
