"""Runs that end at once, in the middle of saving or recording: going on leaves what an undisturbed run leaves."""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

import train
from engine.checkpoint.snapshot import load_snapshot, save_snapshot
from engine.training import run_folder
from engine.training.events import NAMES, EventWriter, filter_events, read_events
from engine.training.recorder import Recorder
from tests.conftest import train_args
from utils.errors import EnvironmentFault

OF_THE_MACHINE = ("images_per_second", "data_wait")


class KilledAt:
    """Kills this process before or after a call of one of several functions, counted together."""

    def __init__(self, patch, call: int, after: bool) -> None:
        self.left, self.after = call, after
        patch.setattr(run_folder, "save_snapshot", self.wrapped(run_folder.save_snapshot))
        for name in ("step", "epoch"):
            patch.setattr(Recorder, name, self.wrapped(getattr(Recorder, name)))

    def wrapped(self, function):
        def call(*args, **options):
            self.left -= 1
            if self.left < 0 and not self.after:
                os.kill(os.getpid(), signal.SIGKILL)
            function(*args, **options)
            if self.left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

        return call


def run_killed(arguments: list[str], call: int, after: bool) -> bool:
    """Train in a child; True if it was killed."""
    child = os.fork()
    if child == 0:
        with pytest.MonkeyPatch.context() as patch:
            KilledAt(patch, call, after)
            os._exit(train.main(arguments))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def events(folder) -> list[tuple[int, str, float]]:
    """Step, tag and value of every scalar in the event files, however they are spread over them; pictures as 0."""
    found = []
    for path in folder.glob(NAMES):
        for _, step, values in read_events(path.read_bytes()):
            found += [(step, tag, round(value, 6)) for tag, value in values.items()]
    return sorted(entry for entry in found if entry[1].split("/")[-1] not in OF_THE_MACHINE)


def lines(folder) -> list[dict]:
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in record.items() if name not in OF_THE_MACHINE} for record in records]


@pytest.mark.slow
def test_no_step_is_recorded_twice_or_lost(scenes, tmp_path):
    extra = ("--max_epoch", "1", "--save_every", "3", "--lr", "0.001")
    assert train.main(train_args(scenes, tmp_path / "whole", *extra)) == 0
    whole = tmp_path / "whole" / "run"
    expected = events(whole)
    assert {step for step, _, _ in expected} == {1, 2, 3, 4} and len(set(expected)) == len(expected)
    for call in range(20):
        arguments = train_args(scenes, tmp_path / str(call), *extra)
        if not run_killed(arguments, call, after=call % 2 == 1):
            break
        assert train.main(arguments) == 0
        folder = tmp_path / str(call) / "run"
        assert events(folder) == expected, call
        assert lines(folder) == lines(whole), call
        assert not list(folder.glob(".*.tmp"))
    assert call > 7  # four steps, an epoch, four saves


def test_what_is_flushed_is_in_the_file(tmp_path):
    writer = EventWriter(tmp_path)
    for step in range(1, 50):
        writer.add_scalars({"train/total": step / 4}, step)
    writer.flush()
    assert events(tmp_path) == [(step, "train/total", step / 4) for step in range(1, 50)]


def test_a_missing_tensorboard_writer_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX.summary", None)  # an import of it fails
    with pytest.raises(EnvironmentFault, match="TensorBoard events: needs the package tensorboardX.*pip install"):
        EventWriter(tmp_path)


@pytest.mark.parametrize("end", [b"\x18\0\0\0\0\0\0\0half", b"\x04\0\0\0\0\0\0\0____\xff\xff\xff\xff____"])
def test_a_damaged_event_goes_and_foreign_files_stay(end, tmp_path):
    writer = EventWriter(tmp_path)
    writer.add_scalars({"a": 1.0}, 1)
    writer.close()
    (path,) = tmp_path.glob(NAMES)
    whole = path.read_bytes()
    path.write_bytes(whole + end)
    (tmp_path / "notes.txt").write_text("mine")
    filter_events(tmp_path, lambda step, tag: True)
    assert path.read_bytes() == whole
    filter_events(tmp_path, lambda step, tag: step != 1)
    assert events(tmp_path) == []
    filter_events(tmp_path / "missing", lambda step, tag: True)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_restart_by_the_queue_goes_on_although_it_began_anew(scenes, tmp_path, monkeypatch, capfd):
    assert train.main(train_args(scenes, tmp_path, "--max_steps", "1")) == 0
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    arguments = train_args(scenes, tmp_path, "--resume", "never")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")  # of a job that ended before it began this run
    assert train.main([*arguments, "--max_steps", "2"]) == 0
    assert "resuming" not in capfd.readouterr().out
    assert train.main([*arguments, "--max_steps", "3"]) == 0
    assert capfd.readouterr().out.startswith("resuming at step 2 from")
    monkeypatch.delenv("SLURM_RESTART_COUNT")
    assert train.main([*arguments, "--max_steps", "1"]) == 0
    assert "resuming" not in capfd.readouterr().out


def test_a_restart_before_the_first_snapshot_starts_from_the_same_one(scenes, tmp_path, monkeypatch, capfd):
    assert train.main(train_args(scenes, tmp_path, "--max_steps", "1")) == 0
    first = tmp_path / "run" / "last.pth"
    arguments = train_args(scenes, tmp_path / "b", "--resume", str(first), "--max_steps", "3")
    (tmp_path / "b" / "run").mkdir(parents=True)
    (tmp_path / "b" / "run" / "config.json").write_text('{"job": "77"}')  # all that it left
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert train.main(arguments) == 0
    assert f"resuming at step 1 from {first}" in capfd.readouterr().out
    first.unlink()  # it has one of its own now
    assert train.main(arguments) == 0
    assert f"resuming at step 3 from {tmp_path / 'b' / 'run' / 'last.pth'}" in capfd.readouterr().out


@pytest.mark.parametrize("count", ["0", "1"])  # of the starts, which torchrun doesn't count where machines join
def test_a_start_by_the_same_torchrun_goes_on_one_by_another_does_not(scenes, tmp_path, monkeypatch, capfd, count):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", count)
    for launcher, steps, resumes in (("a 7 1", 1, False), ("a 7 1", 2, True), ("a 7 9", 3, False)):
        monkeypatch.setattr("utils.distributed.launcher", lambda: launcher)  # noqa: B023
        assert train.main(train_args(scenes, tmp_path, "--resume", "never", "--max_steps", str(steps))) == 0
        assert ("resuming" in capfd.readouterr().out) == resumes


def test_the_best_weights_are_those_of_the_folder(scenes, tmp_path, capfd):
    assert train.main(train_args(scenes, tmp_path / "a", "--max_epoch", "1")) == 0
    run = tmp_path / "a" / "run"
    content = load_snapshot(run / "last.pth")
    content["training"]["state"]["best_iou"] = 0.99
    save_snapshot(tmp_path / "other.pth", content)
    more = ("--max_epoch", "2", "--resume_override")
    assert train.main(train_args(scenes, tmp_path / "b", *more, "--resume", str(tmp_path / "other.pth"))) == 0
    assert "the best epoch so far, 0, isn't in" in (said := capfd.readouterr().out) and "best epoch: 1," in said
    best, last = (load_snapshot(tmp_path / "b" / "run" / name) for name in ("best.pth", "last.pth"))
    assert best["score"]["epoch"] == 1 == last["training"]["state"]["best_epoch"]


def test_going_back_in_a_folder_keeps_what_came_later(scenes, tmp_path, monkeypatch, capfd):
    run = tmp_path / "run"
    assert train.main(train_args(scenes, tmp_path, "--max_epoch", "2", "--max_steps", "2")) == 0
    shutil.copy(run / "last.pth", run / "keep.pth")
    assert train.main(train_args(scenes, tmp_path, "--max_epoch", "2")) == 0
    later = {name: (run / name).read_bytes() for name in ("last.pth", "last_previous.pth", "best.pth")}
    assert train.main(train_args(scenes, tmp_path, "--max_epoch", "2", "--resume", str(run / "keep.pth"))) == 0
    assert {name: (run / "replaced_1" / name).read_bytes() for name in later} == later
    assert all((run / name).exists() for name in later)  # made anew
    monkeypatch.chdir(tmp_path)
    (run / "last.pth").write_bytes(b"damaged")
    argv = train_args(scenes, Path("."), "--max_epoch", "2", "--resume", str(run / "last_previous.pth"))
    assert train.main(argv) == 0 and (run / "replaced_2" / "last.pth").read_bytes() == b"damaged"
    shutil.copy(run / "last.pth", run / "final.pth")
    assert train.main(train_args(scenes, tmp_path, "--max_epoch", "2", "--resume", str(run / "final.pth"))) == 0
    assert (run / "last.pth").read_bytes() == (run / "final.pth").read_bytes()  # nothing was left to train
