"""scripts/model_table.py: counts that can be checked by hand, and what it refuses."""

import json

import pytest
import torch
from torch import nn

import network
from scripts import model_table


def test_counts_of_a_convolution():
    model = nn.Conv2d(3, 8, 3, stride=2, padding=1)
    assert model_table.giga_macs(model, (64, 96)) == pytest.approx(3 * 8 * 9 * 32 * 48 / 1e9)


def test_figures_of_fenet_r18_are_those_of_the_paper_s_size():
    # 378.4 GMAC at 1024x2048, a quarter of it at 512x1024, counted by hand
    assert model_table.giga_macs(model_table.build("fenet_r18", ""), (512, 1024)) == pytest.approx(378.4 / 4, rel=2e-3)


def test_table_and_json(tmp_path, capsys):
    out = tmp_path / "a.json"
    argv = ["--arch", "fenet_tiny,sfnet_r18", "--size", "64,96", "--crop", "64", "--rounds", "1", "--warmup", "0"]
    assert model_table.main([*argv, "--device", "cpu", "--json", str(out)]) == 0
    rows = json.loads(out.read_text())["models"]
    assert list(rows) == ["fenet_tiny", "sfnet_r18"]
    model = network.build_model("sfnet_r18", model_table.NUM_CLASSES)
    assert rows["sfnet_r18"]["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert all(row["seconds"] > 0 and row["crop_bytes"] > 0 for row in rows.values())
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 4 and printed[3].startswith("| sfnet_r18 |")


@pytest.mark.parametrize(
    ("argv", "word"), [(["--size", "64"], "--size"), (["--crop", "1"], "--crop"), (["--arch", "x"], "x")]
)
def test_wrong_options(argv, word, capsys):
    torch.manual_seed(0)
    assert model_table.main(argv) == 2
    assert word in capsys.readouterr().err
