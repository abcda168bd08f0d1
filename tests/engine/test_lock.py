import json
import os
import subprocess
import sys
import textwrap

import pytest

from engine.training.lock import RunLock
from tests.conftest import ROOT
from utils.errors import EnvironmentFault

HOLD = """
    import sys, time
    from engine.training.lock import RunLock
    lock = RunLock(sys.argv[1])
    lock.acquire()
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the folder."""
    command = [sys.executable, "-c", textwrap.dedent(HOLD), str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_holder_is_named_and_a_kill_releases(holder, tmp_path):
    with pytest.raises(EnvironmentFault, match=f"process {holder.pid} on .*--exp"):
        RunLock(tmp_path).acquire()
    holder.kill()
    holder.wait()
    lock = RunLock(tmp_path)
    lock.acquire()
    assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
    lock.release()


def test_children_do_not_inherit_it(tmp_path):
    lock = RunLock(tmp_path)
    lock.acquire()
    child = os.fork()
    if child == 0:
        os.execlp("sleep", "sleep", "60")  # an orphan, as a loader's worker may be
    try:
        lock.release()
        command = [sys.executable, "-c", textwrap.dedent(HOLD).replace("time.sleep(60)", ""), str(tmp_path)]
        assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout == "held\n"
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_an_unreadable_owner_is_another_process(holder, tmp_path):
    (tmp_path / ".lock").write_text("{")
    with pytest.raises(EnvironmentFault, match="another process is writing"):
        RunLock(tmp_path).acquire()
