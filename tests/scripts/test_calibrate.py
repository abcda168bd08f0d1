"""scripts/calibrate.py: a snapshot with a temperature, and what it refuses."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import eval
from engine.checkpoint.snapshot import load_snapshot, read_snapshot_file
from scripts import calibrate
from tests.conftest import eval_args


def arguments(snapshot, data, out, *more: str) -> list[str]:
    shared = ["--split", "val", "--out", str(out), "--num_workers", "0", "--device", "cpu", *more]
    return [str(snapshot), "--data_root", str(data), *shared]


def test_a_calibrated_snapshot_is_the_snapshot_with_a_temperature(trained, tmp_path, capsys):
    out, source = tmp_path / "calibrated.pth", load_snapshot(trained.best)
    assert calibrate.main(arguments(trained.best, trained.data, out)) == 0
    words = capsys.readouterr().out.splitlines()[-1].split()
    assert words[0] == "ece" and words[2] == "->"
    found = read_snapshot_file(out)
    assert type(found["temperature"]) is float and found["classes"] == source["classes"]
    assert all(np.array_equal(found["model"][name], tensor) for name, tensor in source["model"].items())
    assert eval.main(eval_args(out, trained.data, tmp_path / "eval", "--confidence", "--bootstrap", "9")) == 0
    scores = json.loads((tmp_path / "eval" / "metrics.json").read_text())["confidence"]
    # all labelled pixels of these small images are in the sample
    assert float(words[3]) == pytest.approx(scores["ece"], abs=1e-4) and scores["temperature"] == found["temperature"]


def test_safetensors_hold_the_temperature(trained, tmp_path):
    source = load_snapshot(trained.last)
    calibrate.write(tmp_path / "model.safetensors", source, 1.5, str(trained.last))
    found = read_snapshot_file(tmp_path / "model.safetensors")
    assert found["temperature"] == 1.5 and "training" not in found and found["config"] == source["config"]


def test_what_it_refuses(trained, tmp_path, capsys):
    void = tmp_path / "void"
    shutil.copytree(trained.data, void)
    for path in (void / "masks" / "val").iterdir():
        Image.fromarray(np.full((48, 64), 255, np.uint8)).save(path)
    out = tmp_path / "out.pth"
    for argv, code, said in (
        (arguments(tmp_path / "model.onnx", trained.data, out), 2, "labels without probabilities"),
        (arguments(trained.best, trained.data, tmp_path / "folder"), 2, ".pth or .safetensors"),
        (arguments(trained.best, trained.data, trained.best), 2, "is the snapshot"),
        (arguments(trained.best, trained.data, out, "--resume"), 2, "--resume"),
        (arguments(trained.best, trained.data, out, "--merge", "exp_softmax"), 2, "no probabilities"),
        (arguments(trained.best, trained.data, out, "--class_map", "map.json"), 2, "--class_map"),
        (arguments(trained.best, tmp_path / "none", trained.best / "out.pth"), 5, "--out"),
        (arguments(trained.best, void, out), 3, "void"),
        (arguments(tmp_path / "none.pth", trained.data, out), 4, "no such file"),
    ):
        assert calibrate.main(argv) == code
        assert said in capsys.readouterr().err
    assert not out.exists()
