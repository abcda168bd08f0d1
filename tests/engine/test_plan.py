from pathlib import Path

import pytest

from engine.checkpoint.snapshot import previous_path, save_snapshot
from engine.training.options import ScheduleOptions, ValidationOptions
from engine.training.plan import TrainSchedule
from engine.training.resume import check_resumable
from engine.training.run_folder import prepare_run_folder
from utils.errors import CheckpointError, OptionError

PATH = Path("last.pth")


def test_changed_settings_are_refused_with_old_and_new_value():
    old = {"lr": "0.1", "arch": "a"}
    check_resumable(old, dict(old), PATH, override=False)
    with pytest.raises(OptionError, match=r"last.pth.*lr was 0.1, is 0.2.*--resume_override"):
        check_resumable(old, {"lr": "0.2", "arch": "a"}, PATH, override=False)
    check_resumable(old, {"lr": "0.2", "arch": "a"}, PATH, override=True)
    for override in (False, True):
        with pytest.raises(CheckpointError, match=r"arch was a, is b"):
            check_resumable(old, {"lr": "0.2", "arch": "b"}, PATH, override)


def test_when_it_validates():
    plan = TrainSchedule(ScheduleOptions(max_epoch=10), ValidationOptions(eval_epoch=2, val_every=3), 3)
    assert [epoch for epoch in range(10) if plan.validates(epoch)] == [2, 5, 8, 9]
    assert plan.total_steps == 30


def test_a_fresh_start_moves_old_snapshots_aside_and_sweeps(tmp_path):
    for name in ("last.pth", "last_previous.pth", "best.pth", ".last.pth.x.tmp"):
        (tmp_path / name).write_text(name)
    prepare_run_folder(tmp_path, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["replaced_1"]
    assert (tmp_path / "replaced_1" / "best.pth").read_text() == "best.pth"


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
