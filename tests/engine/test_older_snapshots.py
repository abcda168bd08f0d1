"""Snapshots of revision e4c9bae load, are checked, evaluate and resume as they did there; see tests/data/e4c9bae."""

import json
import multiprocessing
import re
import shutil

import numpy as np
import pytest
import torch

import eval as evaluation
import network
import train
from engine.checkpoint import load_model, load_snapshot
from tests.conftest import make_scenes
from tests.processes import ROOT
from utils.errors import CheckpointError

FOLDER = ROOT / "tests/data/e4c9bae"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())
NAMES = tuple(EXPECTED["confusion_matrix"])
OPTIONS = {"plain": ["--no-fem_s"], "averaged": ["--ema", "0.9", "--no-fem_s", "--no-fem_d", "--no-aux"]}
PORTABLE = {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE", "OMP_NUM_THREADS": "1"}


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setitem(network.registry.RESNETS["tiny"], "width", 2)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_scenes(tmp_path_factory.mktemp("data"), 6)


@pytest.mark.parametrize("name", NAMES)
def test_they_load(name):
    snapshot = load_snapshot(FOLDER / name)
    assert len(snapshot["plain_sha256"]) == 64
    model, metadata, report = load_model(FOLDER / name)
    assert report.complete and metadata["classes"]["names"] == ["sky", "road", "car", "tree"]
    weights = snapshot["model"] if snapshot["average"] is None else snapshot["average"]
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_they_evaluate(name, data, tmp_path):
    argv = ["--snapshot", str(FOLDER / name), "--data_root", str(data), "--save_dir", str(tmp_path)]
    assert evaluation.main([*argv, "--device", "cpu", "--num_workers", "0", "--bootstrap", "0", "--amp", "off"]) == 0
    found = np.array(json.loads((tmp_path / "metrics.json").read_text())["confusion_matrix"])
    assert abs(found - np.array(EXPECTED["confusion_matrix"][name])).sum() <= 8  # of 9216 pixels, on another processor


def flip(data, place):
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.mark.parametrize("name", NAMES)
def test_damage_is_found(name, tmp_path):
    data, path = (FOLDER / name).read_bytes(), tmp_path / name
    for place in (data.index(b"folder"), data.index(b"mean_iou" if b"mean_iou" in data else b"settings"), -300):
        path.write_bytes(flip(data, place % len(data)))
        with pytest.raises(CheckpointError, match="SHA-256"):
            load_snapshot(path)


def resume(data, out):
    """Run in a process of its own, whose arithmetic is the same on every processor."""
    torch.backends.mkldnn.set_flags(False)
    torch.set_num_threads(1)
    network.registry.RESNETS["tiny"]["width"] = 2
    argv = ["--arch", "fenet_tiny", "--channels", "4", "--dataset", "folder", "--data_root", data, "--crop_size", "32"]
    argv += ["--bs_mult", "2", "--max_epoch", "40", "--lr", "0.05", "--seed", "0", "--num_workers", "0", "--no-report"]
    argv += ["--device", "cpu", "--ckpt", out, "--max_steps", "65"]
    for name, more in OPTIONS.items():
        if code := train.main([*argv, *more, "--exp", name, "--resume", f"{out}/{name}.pth"]):
            raise SystemExit(code)


@pytest.mark.slow
@pytest.mark.skipif(not torch.__version__.startswith(EXPECTED["torch"]), reason="recorded with another PyTorch")
def test_they_resume_to_the_same_digest(data, tmp_path, monkeypatch):
    for key, value in PORTABLE.items():
        monkeypatch.setenv(key, value)
    for name in OPTIONS:
        shutil.copy(FOLDER / f"{name}.pth", tmp_path)
    process = multiprocessing.get_context("spawn").Process(target=resume, args=(str(data), str(tmp_path)))
    process.start()
    process.join(240)
    assert process.exitcode == 0
    for name in OPTIONS:
        log = (tmp_path / name / "log.txt").read_text()
        assert f"resuming at step 61 from {tmp_path / name}.pth" in log
        assert re.findall(r"final weights sha256: (\w+)", log) == [EXPECTED["resumed"][name]]
