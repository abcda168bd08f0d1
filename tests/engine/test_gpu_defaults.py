"""What a run on a GPU gets without asking, and what it refuses; shown on a CPU."""

import sys
from types import SimpleNamespace

import pytest
import torch

import train
from config import parse_eval, parse_train
from engine.evaluation.run import shared_loader
from engine.inference.predictor import Predictor
from engine.training.learner import Learner
from tests.conftest import train_args
from utils import machine
from utils.distributed import Process

CPU, CUDA = (Process(0, 1, torch.device(name)) for name in ("cpu", "cuda:0"))


@pytest.mark.parametrize("option", ["--no-report", "--deterministic"])
def test_cudnn_tries_kernels_out_for_crops_of_one_size_alone(scenes, tmp_path, monkeypatch, option):
    seen = {Learner.step: set(), Predictor.__call__: set()}

    def watched(inner):
        def call(*args):
            seen[inner].add(torch.backends.cudnn.benchmark)
            return inner(*args)

        return call

    monkeypatch.setattr(Learner, "step", watched(Learner.step))
    monkeypatch.setattr(Predictor, "__call__", watched(Predictor.__call__))
    try:
        assert train.main(train_args(scenes, tmp_path, "--max_epoch", "1", option)) == 0
    finally:
        torch.use_deterministic_algorithms(False)
    assert list(seen.values()) == [{option != "--deterministic"}, {False}]


@pytest.mark.parametrize(
    ("cores", "processes", "workers"), [(2, 1, 2), (2, 8, 1), (16, 1, 8), (32, 8, 4), (256, 8, 8), (1, 1, 1)]
)
def test_loader_processes_follow_the_cores(monkeypatch, cores, processes, workers):
    monkeypatch.setattr(machine, "usable_cores", lambda: cores)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    needed = ["--snapshot", "a.pth", "--save_dir", "out"]
    assert parse_train([]).data.num_workers == parse_eval(needed)[0].num_workers == workers
    assert parse_train(["--num_workers", "0"]).to_dict()["num_workers"] == 0
    assert parse_eval([*needed, "--num_workers", "3"])[0].num_workers == 3


def test_a_machine_without_tensorboardx_trains(scenes, tmp_path, monkeypatch, capfd):
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorboardX"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboardX", None)  # an import of it fails
    argv = train_args(scenes, tmp_path, "--max_epoch", "1")
    assert train.main(argv) == 0
    assert capfd.readouterr().out.count("TensorBoard events: needs the package tensorboardX") == 1
    assert (tmp_path / "run" / "metrics.jsonl").read_text().count("\n") == 1
    assert train.main([*argv, "--exp", "b", "--tb_path", str(tmp_path / "tb")]) == 5
    assert "error: --tb_path: needs the package tensorboardX" in capfd.readouterr().err
    assert not (tmp_path / "b").exists()


def test_evaluation_pins_its_batches_for_a_gpu():
    options = SimpleNamespace(batch_size=1, num_workers=0)
    assert [shared_loader([0], [0], options, process).pin_memory for process in (CPU, CUDA)] == [False, True]
