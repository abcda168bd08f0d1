"""Two gloo processes, one thread each, agree with one."""

import json
import re
import textwrap

import numpy as np
import pytest
import torch

from engine.checkpoint.snapshot import load_snapshot
from tests.conftest import launch, make_scenes, train_args

EQUAL = ("--fix_bn", "--dropout", "0", "--max_steps", "3", "--class_uniform_pct", "0", "--no-aux", "--lr", "0.001")


def losses(text: str) -> list[float]:
    return [float(value) for value in re.findall(r"loss ([\d.]+)", text)]


def test_two_processes_train_like_one(tmp_path):
    data = make_scenes(tmp_path / "data", 13)  # every pixel labelled
    one = launch(["train.py", *train_args(data, tmp_path / "one", *EQUAL, "--bs_mult", "4")])
    two = launch(["train.py", *train_args(data, tmp_path / "two", *EQUAL, "--bs_mult", "2")], processes=2)
    assert one.returncode == two.returncode == 0, one.stderr + two.stderr
    assert len(losses(one.stdout)) == 3
    assert losses(two.stdout) == pytest.approx(losses(one.stdout), rel=1e-4)
    a, b = (load_snapshot(tmp_path / name / "run" / "last.pth")["model"] for name in ("one", "two"))
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-3, atol=1e-5)


TRACED = """
    import sys
    from functools import partial
    import train
    train.CompiledStep = partial(train.CompiledStep, backend="eager")
    sys.exit(train.main(sys.argv[1:]))
"""


def test_recomputed_parts_and_compiled_steps_change_no_weight(tmp_path):
    data, last = make_scenes(tmp_path / "data", 13), []
    (tmp_path / "traced.py").write_text(textwrap.dedent(TRACED))
    for name, extra in (("kept", ()), ("again", ("--checkpoint_activations",)), ("traced", ("--compile",))):
        arguments = train_args(data, tmp_path / name, "--max_steps", "2", *extra)
        done = launch([str(tmp_path / "traced.py"), *arguments], processes=2)
        assert done.returncode == 0, done.stderr
        assert ("--compile: same results as without" in done.stdout) == (name == "traced")
        last.append(done.stdout.splitlines()[-1])
    assert "sha256" in last[0] and last[0] == last[1] == last[2]


def test_two_processes_score_what_one_scores(tmp_path):
    data = make_scenes(tmp_path / "data", 14, ignore=True)  # 7 images to validate: they don't divide
    first = launch(["train.py", *train_args(data, tmp_path, "--max_epoch", "1", "--ema", "0.5")], processes=2)
    assert first.returncode == 0, first.stderr
    logged = json.loads((tmp_path / "run" / "metrics.jsonl").read_text())
    matrices = []
    for processes in (1, 2):
        out = tmp_path / f"eval{processes}"
        command = ["eval.py", "--snapshot", str(tmp_path / "run" / "best.pth"), "--data_root", str(data)]
        done = launch([*command, "--save_dir", str(out), "--num_workers", "1", "--device", "cpu"], processes)
        assert done.returncode == 0, done.stderr
        metrics = json.loads((out / "metrics.json").read_text())
        assert metrics["num_images"] == 7
        assert metrics["mean_iou"] == logged["mean_iou"]  # of the run's own validation, on two processes
        matrices.append(np.array(metrics["confusion_matrix"]))
    assert (matrices[0] == matrices[1]).all()
    assert matrices[0].sum() == 7 * (48 - 4) * 64


def test_interrupted_on_two_processes(tmp_path):
    data = make_scenes(tmp_path / "data", 13)
    arguments = train_args(data, tmp_path / "a", "--max_epoch", "1", "--class_uniform_tile", "32")
    whole = launch(["train.py", *arguments], processes=2)
    arguments[arguments.index("--ckpt") + 1] = str(tmp_path / "b")
    part = launch(["train.py", *arguments, "--max_steps", "2"], processes=2)
    rest = launch(["train.py", *arguments], processes=2)
    assert whole.returncode == part.returncode == rest.returncode == 0, whole.stderr + part.stderr + rest.stderr
    assert rest.stdout.startswith("resuming at step 2 from")
    assert rest.stdout.splitlines()[-1] == whole.stdout.splitlines()[-1]
    records = [json.loads((tmp_path / name / "run" / "metrics.jsonl").read_text()) for name in "ab"]
    assert records[0]["train_loss"] == pytest.approx(records[1]["train_loss"], rel=1e-12)


NAMES = """
    import os, sys
    import engine.training.trainer as trainer, train
    train_step = trainer.train_step
    def named(*args, **options):
        names = ",".join(name for batch in args[3] for name in batch["name"])
        with open(os.environ["NAMES"], "a") as file:
            file.write(f"{os.environ.get('RANK', 0)} {names}\\n")
        return train_step(*args, **options)
    trainer.train_step = named
    sys.exit(train.main(sys.argv[1:]))
"""


def test_the_number_of_processes_may_change(tmp_path, monkeypatch):
    """Two processes, then one with twice the batch, then one that accumulates, then two: as one process throughout."""
    data = make_scenes(tmp_path / "data", 13)
    (tmp_path / "run.py").write_text(textwrap.dedent(NAMES))
    common = (
        "--fix_bn",
        "--dropout",
        "0",
        "--no-aux",
        "--lr",
        "0.001",
        "--max_epoch",
        "2",
        "--class_uniform_tile",
        "32",
    )

    def part(name: str, processes: int, *options: str) -> list[list[str]]:
        monkeypatch.setenv("NAMES", str(tmp_path / "names"))
        arguments = train_args(data, tmp_path / name, *common, *options)
        done = launch([str(tmp_path / "run.py"), *arguments], processes)
        assert done.returncode == 0, done.stderr
        steps: dict[str, list[list[str]]] = {}
        for line in (tmp_path / "names").read_text().splitlines():
            rank, names = line.split(" ")
            steps.setdefault(rank, []).append(names.split(","))
        (tmp_path / "names").unlink()
        return [sorted(sum(step, [])) for step in zip(*steps.values(), strict=True)]

    whole = part("whole", 1, "--bs_mult", "4")
    changing = part("changing", 2, "--bs_mult", "2", "--max_steps", "2")
    changing += part("changing", 1, "--bs_mult", "4", "--max_steps", "3")
    changing += part("changing", 1, "--bs_mult", "2", "--accumulate", "2", "--max_steps", "4")
    changing += part("changing", 2, "--bs_mult", "2")
    assert changing == whole and len(whole) == 6
    a, b = (load_snapshot(tmp_path / name / "run" / "last.pth")["model"] for name in ("whole", "changing"))
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-3, atol=1e-5)
    records = [(tmp_path / name / "run" / "metrics.jsonl").read_text().splitlines() for name in ("whole", "changing")]
    for one, other in zip(*records, strict=True):
        assert json.loads(one)["train_loss"] == pytest.approx(json.loads(other)["train_loss"], rel=1e-4)


def test_a_fault_on_the_workers_is_one_line_each(tmp_path):
    data = make_scenes(tmp_path / "data", 4)
    done = launch(["train.py", *train_args(data, tmp_path, "--bs_mult", "50")], processes=2)
    assert done.returncode != 0
    assert "error: " in done.stderr and "--bs_mult" in done.stderr
    assert "exitcode  : 2" in done.stderr  # the worker's own, as torchrun reports it


DIFFERENT = """
    import os, sys
    import train
    rank = int(os.environ["RANK"])
    sys.exit(train.main([*sys.argv[1:], *{options}[rank]]))
"""


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ([[], ["--lr", "0.5"]], 2, "rank 1 and rank 0 differ in their options: lr is '0.5' there"),
        ([[], ["--train_split", "val"]], 2, "train_split"),
    ],
)
def test_ranks_that_were_started_differently(tmp_path, options, code, words):
    data = make_scenes(tmp_path / "data", 9)
    (tmp_path / "run.py").write_text(textwrap.dedent(DIFFERENT).format(options=options))
    done = launch([str(tmp_path / "run.py"), *train_args(data, tmp_path)], processes=2)
    assert done.returncode != 0 and words in done.stderr and f"exitcode  : {code}" in done.stderr
    assert not (tmp_path / "run" / "last.pth").exists()


FULL_DISK = """
    import sys
    import engine.training.trainer as trainer, train
    from utils.errors import EnvironmentFault
    def full(*args, **options):
        raise EnvironmentFault("last.pth: cannot be written (No space left on device)")
    trainer.save_snapshot = full
    sys.exit(train.main(sys.argv[1:]))
"""


def test_a_failed_save_is_known_to_all(tmp_path):
    data = make_scenes(tmp_path / "data", 9)
    (tmp_path / "run.py").write_text(textwrap.dedent(FULL_DISK))
    command = [str(tmp_path / "run.py"), *train_args(data, tmp_path, "--max_steps", "2")]
    done = launch(command, processes=2, timeout=100)
    assert done.returncode != 0 and done.stderr.count("error: last.pth: cannot be written") == 2
    assert "exitcode  : 5" in done.stderr
