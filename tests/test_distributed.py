"""Two gloo processes, one thread each, agree with one."""

import json
import os
import re
from functools import partial

import numpy as np
import pytest
import torch

import engine.training.learner
import engine.training.run_folder
import train
from engine.checkpoint.snapshot import load_snapshot
from engine.inference.compile import CompiledStep
from engine.training import learner
from tests.conftest import eval_args, make_scenes, train_args
from tests.processes import launch, torchrun
from utils.errors import EnvironmentFault

EQUAL = ("--fix_bn", "--dropout", "0", "--no-aux", "--lr", "0.001", "--amp", "off")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """13 images with every pixel labelled, 6 to validate on."""
    return make_scenes(tmp_path_factory.mktemp("data"), 13)


def losses(text: str) -> list[float]:
    return [float(value) for value in re.findall(r"loss ([\d.]+)", text)]


def last_line(done) -> str:
    assert done.returncode == 0, done.stderr
    line = done.stdout.splitlines()[-1]
    assert "sha256" in line
    return line


def records(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]


def assert_same_weights(one, other) -> None:
    a, b = (load_snapshot(folder / "run" / "last.pth")["model"] for folder in (one, other))
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-3, atol=1e-5)


def test_two_processes_of_torchrun_train_like_one(data, tmp_path):
    equal = (*EQUAL, "--max_steps", "3", "--class_uniform_pct", "0")
    one = launch(["train.py", *train_args(data, tmp_path / "one", *equal, "--bs_mult", "4")])
    two = torchrun(["train.py", *train_args(data, tmp_path / "two", *equal, "--bs_mult", "2")], processes=2)
    assert one.returncode == two.returncode == 0, one.stderr + two.stderr
    assert len(losses(one.stdout)) == 3
    assert losses(two.stdout) == pytest.approx(losses(one.stdout), rel=1e-4)
    assert_same_weights(tmp_path / "one", tmp_path / "two")


def train_traced(*argv: str) -> int:
    """--compile without a compiler: the step is traced, not translated."""
    learner.CompiledStep = partial(CompiledStep, backend="eager")
    return train.main(argv)


@pytest.mark.slow
def test_recomputed_parts_and_compiled_steps_change_no_weight(data, tmp_path):
    last = {}
    for option in ("--debug", "--checkpoint_activations", "--compile"):
        done = launch([train_traced, *train_args(data, tmp_path / option, "--max_steps", "2", option)], processes=2)
        last[option] = last_line(done)
        assert ("--compile: same results as without" in done.stdout) == (option == "--compile")
    assert len(set(last.values())) == 1, last


@pytest.mark.slow
def test_two_processes_score_what_one_scores(tmp_path):
    data = make_scenes(tmp_path / "data", 14, ignore=True)  # 7 images to validate: they don't divide
    last_line(launch(["train.py", *train_args(data, tmp_path, "--max_epoch", "1", "--ema", "0.5")], processes=2))
    (logged,) = records(tmp_path)
    matrices = []
    for processes in (1, 2):
        out = tmp_path / f"eval{processes}"
        argv = eval_args(tmp_path / "run" / "best.pth", data, out, "--num_workers", "1")
        done = launch(["eval.py", *argv], processes)
        assert done.returncode == 0, done.stderr
        metrics = json.loads((out / "metrics.json").read_text())
        assert metrics["num_images"] == 7
        assert metrics["mean_iou"] == logged["mean_iou"]  # of the run's own validation, on two processes
        matrices.append(np.array(metrics["confusion_matrix"]))
    assert (matrices[0] == matrices[1]).all()
    assert matrices[0].sum() == 7 * (48 - 4) * 64


@pytest.mark.slow
def test_interrupted_on_two_processes(data, tmp_path):
    def run(name: str, *more: str):
        extra = ("--max_epoch", "1", "--class_uniform_tile", "32", *more)
        return launch(["train.py", *train_args(data, tmp_path / name, *extra)], processes=2)

    whole = last_line(run("a"))
    last_line(run("b", "--max_steps", "2"))
    rest = run("b")
    assert last_line(rest) == whole
    assert rest.stdout.startswith("resuming at step 2 from")
    straight, resumed = (records(tmp_path / name)[0]["train_loss"] for name in "ab")
    assert straight == pytest.approx(resumed, rel=1e-12)


def train_named(path: str, *argv: str) -> int:
    """Training that appends the rank and the names of the samples of each step to the file `path`."""
    train_step = engine.training.learner.train_step

    def named(*args, **options):
        names = ",".join(name for batch in args[3] for name in batch["name"])
        with open(path, "a") as file:
            file.write(f"{os.environ.get('RANK', 0)} {names}\n")
        return train_step(*args, **options)

    engine.training.learner.train_step = named
    return train.main(argv)


@pytest.mark.slow
def test_the_number_of_processes_may_change(data, tmp_path):
    """Two processes, then one with twice the batch, then one that accumulates, then two: as one process throughout."""
    common = (*EQUAL, "--max_epoch", "2", "--class_uniform_tile", "32")

    def part(name: str, processes: int, *options: str) -> list[list[str]]:
        names = tmp_path / "names"
        last_line(launch([train_named, str(names), *train_args(data, tmp_path / name, *common, *options)], processes))
        steps: dict[str, list[list[str]]] = {}
        for line in names.read_text().splitlines():
            rank, samples = line.split(" ")
            steps.setdefault(rank, []).append(samples.split(","))
        names.unlink()
        return [sorted(sum(step, [])) for step in zip(*steps.values(), strict=True)]

    whole = part("whole", 1, "--bs_mult", "4")
    changing = part("changing", 2, "--bs_mult", "2", "--max_steps", "2")
    changing += part("changing", 1, "--bs_mult", "4", "--max_steps", "3")
    changing += part("changing", 1, "--bs_mult", "2", "--accumulate", "2", "--max_steps", "4")
    changing += part("changing", 2, "--bs_mult", "2")
    assert len(whole) == 6
    assert changing == whole
    assert_same_weights(tmp_path / "whole", tmp_path / "changing")
    for one, other in zip(records(tmp_path / "whole"), records(tmp_path / "changing"), strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-4)


@pytest.mark.slow
def test_a_fault_is_one_line_and_reaches_torchrun(data, tmp_path):
    done = torchrun(["train.py", *train_args(data, tmp_path, "--bs_mult", "50")], processes=2)
    assert done.returncode != 0
    (line,) = re.findall("^error: .*", done.stderr, re.MULTILINE)
    assert "--bs_mult" in line
    assert "exitcode  : 2" in done.stderr  # the worker's own, as torchrun reports it


def train_differently(option: str, value: str, *argv: str) -> int:
    """Rank 1 gets another option."""
    return train.main([*argv, option, value] if os.environ["RANK"] == "1" else argv)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--lr", "0.5"), "rank 1 and rank 0 differ in their options: lr is '0.5' there"),
        (("--train_split", "val"), "train_split"),
    ],
)
def test_ranks_that_were_started_differently(data, tmp_path, option, words):
    done = launch([train_differently, *option, *train_args(data, tmp_path)], processes=2)
    assert done.returncodes == [2, 2]
    assert done.stderr.count(words) == 1, done.stderr
    assert not (tmp_path / "run" / "last.pth").exists()


def train_on_a_full_disk(*argv: str) -> int:
    """No snapshot can be written."""

    def full(*args, **options):
        raise EnvironmentFault("last.pth: cannot be written (No space left on device)")

    engine.training.run_folder.save_snapshot = full
    return train.main(argv)


def test_a_failed_save_is_known_to_all(data, tmp_path):
    done = launch([train_on_a_full_disk, *train_args(data, tmp_path, "--max_steps", "2")], processes=2)
    assert done.returncodes == [5, 5]
    assert done.stderr.count("error: last.pth: cannot be written") == 1, done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_said_once(data, tmp_path):
    done = launch(["train.py", *train_args(data, tmp_path, "--device", "cuda")], processes=2)
    assert done.returncodes == [5, 5] and done.stderr.count("error: --device cuda: PyTorch finds no CUDA device") == 1
