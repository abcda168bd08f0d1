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


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_calibrated_snapshot_is_the_snapshot_with_a_temperature(trained, tmp_path, capsys, suffix):
    out = tmp_path / f"calibrated{suffix}"
    assert calibrate.main(arguments(trained.best, trained.data, out)) == 0
    words = capsys.readouterr().out.splitlines()[-1].split()
    assert words[0] == "ece" and words[2] == "->"
    found, source = read_snapshot_file(out), load_snapshot(trained.best)
    assert type(found["temperature"]) is float and found["classes"] == source["classes"]
    assert all(np.array_equal(found["model"][name], tensor) for name, tensor in source["model"].items())
    if suffix == ".safetensors":
        return
    results = []
    for snapshot in (trained.best, out):
        folder = tmp_path / snapshot.stem
        assert eval.main(eval_args(snapshot, trained.data, folder, "--confidence", "--bootstrap", "9")) == 0
        results.append(json.loads((folder / "metrics.json").read_text()))
    assert results[0]["confusion_matrix"] == results[1]["confusion_matrix"]
    # all labelled pixels of these small images are in the sample
    eces = [result["confidence"]["ece"] for result in results]
    assert [float(words[1]), float(words[3])] == pytest.approx(eces, abs=1e-4)
    assert results[1]["loss"] < results[0]["loss"]


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
        (arguments(trained.best, void, out), 3, "void"),
        (arguments(tmp_path / "none.pth", trained.data, out), 4, "no such file"),
    ):
        assert calibrate.main(argv) == code
        assert said in capsys.readouterr().err
    assert not out.exists()
