from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

from engine.checkpoint.run_state import RunState
from engine.checkpoint.snapshot import previous_path, save_snapshot
from engine.training.changes import RunChanges
from engine.training.options import ScheduleOptions, ValidationOptions
from engine.training.plan import RunIdentity, TrainSchedule
from engine.training.resume import Checkpoint, find_checkpoint
from engine.training.run_folder import prepare_run_folder
from utils.errors import CheckpointError, OptionError

PATH = Path("last.pth")


def schedule(max_epoch: int = 4, steps_per_epoch: int = 6, **options) -> TrainSchedule:
    return TrainSchedule(ScheduleOptions(max_epoch=max_epoch, **options), ValidationOptions(), steps_per_epoch)


def changes(saved: dict, present: dict, state: RunState | None = None, now: TrainSchedule | None = None) -> RunChanges:
    """Of a run of an older version, whose snapshots know their settings and their place only."""
    content = {"training": {"settings": saved, "state": vars(state or RunState())}}
    data = {part: {"digest": "", "dataset": "", "keys": torch.zeros(0, 2)} for part in ("train", "val")}
    identity = RunIdentity({}, present, {"lr": "0.1", "loss": "'ce'", "optimizer_args": "''"}, data, {})
    return RunChanges(Checkpoint(PATH, content), identity, now or schedule())


def test_changed_settings_are_refused_with_old_and_new_value():
    old = {"lr": "0.1", "arch": "a"}
    changes(old, dict(old)).check(False, True)
    with pytest.raises(OptionError, match=r"last.pth.*lr was 0.1, is 0.2.*--resume_override"):
        changes(old, {"lr": "0.2", "arch": "a"}).check(False, True)
    changes(old, {"lr": "0.2", "arch": "a"}).check(True, True)
    for override in (False, True):
        with pytest.raises(CheckpointError, match=r"arch was a, is b"):
            changes(old, {"lr": "0.2", "arch": "b"}).check(override, True)


@pytest.mark.parametrize(
    ("saved", "present", "refused"),
    [
        ({}, {"loss": "'ce'", "optimizer_args": "''"}, None),
        ({}, {"loss": "'dice'"}, "loss was ce, is dice"),
        ({}, {"optimizer_args": "'nesterov=true'"}, "optimizer_args was unset, is nesterov=true"),
        ({"ohem": "True"}, {"ohem": "True", "loss": "'ohem'"}, None),
        ({"ohem": "True", "jointwtborder": "True"}, {"loss": "'relaxed_boundary'"}, None),
        ({"ohem": "True"}, {"loss": "'ce'"}, "loss was ohem, is ce"),
    ],
)
def test_settings_that_an_older_version_did_not_know_had_their_defaults(saved, present, refused):
    if refused is None:
        changes(saved, present).check(False, True)
    else:
        with pytest.raises(OptionError, match=refused):
            changes(saved, present).check(False, True)


@pytest.mark.parametrize(
    ("state", "resumes_at", "total"),
    [
        (RunState(step=8, epoch=1, step_in_epoch=2), (1, 1), 22),
        (RunState(step=12, epoch=1, step_in_epoch=6), (1, 5), 22),
        (RunState(step=12, epoch=2), (2, 0), 22),
        (RunState(step=6, epoch=0, step_in_epoch=6), (0, 5), 21),
        (RunState(step=3, epoch=0, step_in_epoch=3), (0, 3), 20),  # how long its epoch was can't be told
        (RunState(step=24, epoch=4), (4, 0), 24),
    ],
)
def test_a_run_of_an_older_version_ends_right_on_fewer_images(state, resumes_at, total):
    found = changes({"max_epoch": "4"}, {"max_epoch": "4"}, state, schedule(steps_per_epoch=5))
    found.check(False, True)
    assert (found.state.epoch, found.state.step_in_epoch) == resumes_at and found.state.step == state.step
    assert found.schedule.total_steps == total
    place = found.state.step - found.schedule.offset
    assert place == found.state.epoch * 5 + found.state.step_in_epoch


@pytest.mark.parametrize("settings", [{}, {"max_epoch": "x"}, {"max_epoch": "-3"}, {"max_epoch": "(" * 500}])
def test_odd_settings_of_a_snapshot(settings):
    state = RunState(step=5, epoch=3, step_in_epoch=9)
    assert changes(settings, {}, state).schedule.total_steps == 5 + 6 - 6


def test_a_snapshot_that_is_not_there(tmp_path):
    with pytest.raises(CheckpointError, match="--resume nevr: no such file; give auto, never, or a snapshot"):
        find_checkpoint(tmp_path, "nevr")


def test_loss_sums_go_on_from_the_same_digits():
    state, process = RunState(loss_sums={"main": 4.260913362105687 * 7}, loss_processes=6), Mock(world_size=6)
    assert state.loss_sums_of(Mock(world_size=6, is_main=True)) == state.loss_sums
    assert state.loss_sums_of(Mock(world_size=6, is_main=False)) == {"main": 0.0}
    process.world_size = 3
    assert state.loss_sums_of(process)["main"] * 6 == pytest.approx(state.loss_sums["main"])
    older = RunState(loss_sums={"main": 2.0})  # of a mean rank, as versions before kept them
    assert older.loss_sums_of(process) == {"main": 2.0}


def test_means_and_rates_stay_in_an_epoch_of_another_length():
    state = RunState(20, 1, 8, seconds_in_epoch=4.0, waited_in_epoch=2.0, loss_sums={"main": 12.0}, skipped_in_epoch=2)
    there = state.rescaled(10, 5)
    assert (there.step, there.step_in_epoch, there.skipped_in_epoch) == (20, 4, 2)
    assert there.loss_sums["main"] / 2 == 12 / 6 and there.seconds_in_epoch == 2 and there.waited_in_epoch == 1
    assert state.rescaled(10, 10) is state
    assert state.rescaled(10, 1).step_in_epoch == 0


def test_when_it_validates():
    plan = TrainSchedule(ScheduleOptions(max_epoch=10), ValidationOptions(eval_epoch=2, val_every=3), 3)
    assert [epoch for epoch in range(10) if plan.validates(epoch)] == [2, 5, 8, 9]
    assert plan.total_steps == 30


def test_a_length_in_steps():
    plan = TrainSchedule(ScheduleOptions(max_iters=10), ValidationOptions(val_every=2), 4)
    assert (plan.horizon, plan.total_steps, plan.max_epoch) == (10, 10, 3)
    assert [plan.ends_epoch_at(step) for step in (8, 9, 10)] == [False, False, True]
    assert [plan.validates(epoch, step) for epoch, step in ((0, 4), (1, 8), (2, 10))] == [False, True, True]
    assert not plan.is_finished(RunState(10, 2, 2)) and plan.is_finished(RunState(10, 3, 0))
    assert plan.resumed_at(RunState(7, 5, 1)) == plan
    with pytest.raises(OptionError, match="--max_iters 10 --max_epoch 3: .*choose one"):
        ScheduleOptions(max_iters=10, max_epoch=3)
    assert ScheduleOptions().max_epoch == 180


def test_a_fresh_start_moves_old_snapshots_aside_and_sweeps(tmp_path):
    results = ["best.pth", "config.json", "events.out.tfevents.1", "last.pth", "last_previous.pth", "metrics.jsonl"]
    elsewhere = tmp_path / "elsewhere" / "keep.pth"
    elsewhere.parent.mkdir()
    elsewhere.write_text("elsewhere")
    for number in (1, 2):
        for name in [*results, ".last.pth.x.tmp", "log.txt"]:
            (tmp_path / name).write_text(f"{name} {number}")
        prepare_run_folder(tmp_path, None if number == 1 else elsewhere)
    left = ["elsewhere", "last.pth", "log.txt", "replaced_1", "replaced_2"]
    assert (
        sorted(path.name for path in tmp_path.iterdir()) == left and (tmp_path / "last.pth").read_text() == "elsewhere"
    )
    (tmp_path / "last.pth").unlink()
    for number in (1, 2):
        found = {path.name: path.read_text() for path in (tmp_path / f"replaced_{number}").iterdir()}
        assert found == {name: f"{name} {number}" for name in results}
    (tmp_path / "config.json").write_text("of a run without a snapshot")
    prepare_run_folder(tmp_path, None)
    assert not (tmp_path / "replaced_3").exists()


def test_a_damaged_last_never_replaces_the_good_previous(tmp_path):
    last = tmp_path / "last.pth"
    for step in (1, 2):
        save_snapshot(last, {"step": step}, keep_previous=True)
    last.write_bytes(b"damaged")
    good = previous_path(last).read_bytes()
    prepare_run_folder(tmp_path, previous_path(last))
    save_snapshot(last, {"step": 3}, keep_previous=True)
    assert previous_path(last).read_bytes() == good and (tmp_path / "replaced_1" / "last.pth").exists()
    prepare_run_folder(tmp_path, last)
    assert last.exists() and not (tmp_path / "replaced_2").exists()


def test_another_protocol_of_validation_is_said_and_allowed():
    now = changes({"base_size": "None"}, {"base_size": "640"})
    now.check(override=False, same_folder=True)
    assert now.texts() == ["validation, whose scores no longer compare: --base_size None -> 640"]
