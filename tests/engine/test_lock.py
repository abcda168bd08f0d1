import errno
import json
import os
import signal

import pytest

from engine.training import lock as locking
from engine.training.lock import RunLock
from utils.errors import EnvironmentFault


def forked(work) -> tuple[int, str]:
    """A process that does `work` and then waits; its number, and what `work` returned."""
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.write(write, str(work()).encode())
            signal.pause()
        finally:
            os._exit(1)
    os.close(write)
    with open(read) as pipe:
        return child, os.read(pipe.fileno(), 100).decode()


def end(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


@pytest.fixture
def holder(tmp_path):
    """A process that holds the folder, and one that it forked, which outlives it; as a loader's worker may."""

    kept = []

    def hold() -> int:
        kept.append(RunLock(tmp_path))
        kept[0].acquire()
        if (worker := os.fork()) == 0:
            signal.pause()
        return worker

    child, worker = forked(hold)
    yield child
    os.kill(int(worker), signal.SIGKILL)
    end(child)


def test_the_holder_is_named_and_a_kill_releases(holder, tmp_path):
    with pytest.raises(EnvironmentFault, match=f"process {holder} on .*--exp"):
        RunLock(tmp_path).acquire()
    os.kill(holder, signal.SIGKILL)
    os.waitid(os.P_PID, holder, os.WEXITED | os.WNOWAIT)
    with RunLock(tmp_path) as lock:
        lock.acquire()
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()


def test_an_unreadable_owner_is_another_process(holder, tmp_path):
    (tmp_path / ".lock").write_text("{")
    with pytest.raises(EnvironmentFault, match="another process is writing"):
        RunLock(tmp_path).acquire()


def test_a_released_lock_is_free_although_a_child_lives(tmp_path):
    with RunLock(tmp_path) as lock:
        lock.acquire()
        child, _ = forked(lambda: "lives")
    with RunLock(tmp_path) as again:
        again.acquire()
    end(child)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_said(number, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    said = []
    monkeypatch.setattr("fcntl.flock", refuse)
    monkeypatch.setattr(locking.get_logger(), "warning", said.append)
    with RunLock(tmp_path) as lock:
        lock.acquire()
    assert len(said) == 1
    assert ".lock: cannot be locked" in said[0] and "one run per folder" in said[0]


def test_a_lock_of_another_user_is_no_missing_lock(tmp_path):
    (tmp_path / ".lock").mkdir()
    with pytest.raises(OSError, match=r"\.lock"):
        RunLock(tmp_path).acquire()
