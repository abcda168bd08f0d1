"""Every step of a save fails, or is the last thing that its process does: a complete snapshot is there afterwards."""

import errno
import io
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
import torch

from engine.checkpoint.snapshot import newest_snapshot, previous_path, save_snapshot
from engine.training.run_folder import prepare_run_folder
from utils.errors import EnvironmentFault

CALLS = ("link", "replace", "fsync", "chmod", "open", "unlink", "close")
FAULTS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO}


class Steps:
    """Counts what a save asks of the system, and lets one of its steps fail or be the last.

    Args:
        patch: pytest's.
        bad: Number of the step, from 0; None: all work.
        fault: Name of the fault, or `SIGKILL`, which comes in the middle of a write and before any other step.
    """

    def __init__(self, patch, bad: int | None = None, fault: str = "") -> None:
        self.bad, self.fault, self.names = bad, fault, []
        for name in CALLS:
            patch.setattr(os, name, self.wrapped(name, getattr(os, name)))
        patch.setattr(tempfile, "mkstemp", self.wrapped("mkstemp", tempfile.mkstemp))
        patch.setattr(os, "fdopen", lambda handle, mode: Written(io.FileIO(handle, mode), self))

    def wrapped(self, name, call):
        def step(*args, **options):
            self.take(name)
            return call(*args, **options)

        return step

    def take(self, name: str, before_kill=lambda: None) -> None:
        self.names.append(name)
        if len(self.names) - 1 != self.bad:
            return
        if self.fault == "SIGKILL":
            before_kill()
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(FAULTS[self.fault], os.strerror(FAULTS[self.fault]))


class Written:
    """An unbuffered file, each of whose writes is a step."""

    def __init__(self, file: io.FileIO, steps: Steps) -> None:
        self.file, self.steps = file, steps

    def write(self, data) -> int:
        half = memoryview(data).cast("B")[: len(data) // 2]
        self.steps.take("write", lambda: self.file.write(half))
        return self.file.write(data)

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()


def snapshot(step: int) -> dict:
    training = {"settings": {}, "optimizer": {"state": {}, "param_groups": []}, "state": {"step": step}}
    return {"model": {"w": torch.full((3, 5), float(step))}, "training": training}


def save(folder: Path, step: int) -> None:
    save_snapshot(folder / "last.pth", snapshot(step), keep_previous=True)


@pytest.fixture(scope="module")
def steps(tmp_path_factory) -> list[str]:
    """The steps of a save that replaces one."""
    folder = tmp_path_factory.mktemp("steps")
    save(folder, 1)
    save(folder, 2)
    with pytest.MonkeyPatch.context() as patch:
        counted = Steps(patch)
        save(folder, 3)
    return counted.names


def check(folder: Path, saved: bool) -> None:
    """The newest snapshot is complete, and the folder is as good as new."""
    warnings: list[str] = []
    path, content = newest_snapshot(folder, warnings.append)
    assert not warnings and path.name == "last.pth"
    step = content["training"]["state"]["step"]
    assert step == 3 if saved else step in (2, 3)
    assert (content["model"]["w"] == step).all()
    prepare_run_folder(folder, path)
    assert sorted(item.name for item in folder.iterdir()) == ["last.pth", "last_previous.pth"]
    save(folder, 4)
    assert newest_snapshot(folder, warnings.append)[1]["training"]["state"]["step"] == 4
    shutil.copy(previous_path(path), path)  # what is kept is complete too
    assert newest_snapshot(folder, warnings.append)[1]["training"]["state"]["step"] == step and not warnings


def test_a_save_has_the_steps_that_make_it_safe(steps):
    order = [name for name in steps if name in ("fsync", "link", "replace")]
    # the new file; its name; the folder; another name for the old file; both names; the folder
    assert order == ["fsync", "replace", "fsync", "link", "replace", "replace", "fsync"]
    assert steps.count("write") > 3


@pytest.mark.parametrize("fault", ["SIGKILL", *(pytest.param(e, marks=pytest.mark.slow) for e in ("ENOSPC", "EIO"))])
def test_every_step_of_a_save(tmp_path, steps, fault):
    for bad, name in enumerate(steps):
        folder = tmp_path / f"{bad}_{name}"
        save(folder, 1)
        save(folder, 2)
        child = os.fork()
        if child == 0:
            with pytest.MonkeyPatch.context() as patch:
                try:
                    Steps(patch, bad, fault)
                    save(folder, 3)
                    outcome = 0
                except EnvironmentFault as error:
                    outcome = 5 if "last.pth" in str(error) and "free" in str(error) else 1
                except BaseException:
                    outcome = 1
                os._exit(outcome)
        _, status = os.waitpid(child, 0)
        expected = [-signal.SIGKILL] if fault == "SIGKILL" else [0, 5]
        assert os.waitstatus_to_exitcode(status) in expected, f"step {bad}, {name}"
        check(folder, saved=status == 0)
