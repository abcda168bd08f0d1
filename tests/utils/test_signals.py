import signal
import subprocess
import sys
import textwrap
import time

import pytest

from tests.conftest import ROOT
from utils.cli import run_main
from utils.signals import StopRequest


def test_repeats_are_one_request_and_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest() as stop:
        stop.saveable = True
        assert not stop.asked
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)  # as torchrun and a scheduler do within moments
        assert stop.asked
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_with_nothing_to_save_the_first_request_ends_a_lone_process(number, capsys):
    def body(argv):
        with StopRequest():
            signal.raise_signal(number)

    assert run_main(body, []) == 0
    assert capsys.readouterr().out == "stopped before the first step, nothing to save\n"


def test_a_later_signal_stops_at_once(monkeypatch):
    monkeypatch.setattr(StopRequest, "REPEAT_S", -1.0)
    with StopRequest() as stop:
        stop.saveable = True
        signal.raise_signal(signal.SIGINT)
        monkeypatch.setattr(signal, "SIG_DFL", signal.default_int_handler)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


EARLY = """
    import sys
    from utils.signals import StopRequest, prepare_process
    prepare_process()
    print("importing", flush=True)
    sys.stdin.readline()
    from utils.cli import run_main
    def body(argv):
        with StopRequest():
            print("never", flush=True)
    sys.exit(run_main(body, []))
"""


def test_a_signal_during_the_imports_waits():
    command = [sys.executable, "-c", textwrap.dedent(EARLY)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as process:
        assert process.stdout.readline() == "importing\n"
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        assert process.poll() is None
        assert process.communicate("go on\n")[0] == "stopped before the first step, nothing to save\n"
        assert process.returncode == 0


CHILD = """
    import os, time
    from utils.signals import die_with_parent
    if os.fork() == 0:
        die_with_parent()
        print(os.getpid(), flush=True)
        time.sleep(60)
    else:
        time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's prctl")
def test_a_child_ends_with_its_parent():
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(CHILD)], cwd=ROOT, stdout=subprocess.PIPE) as parent:
        child = int(parent.stdout.readline())
        parent.kill()
        assert parent.stdout.read() == b""  # returns when the last holder of the pipe is gone
    deadline = time.monotonic() + 30
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(child)


def alive(pid: int) -> bool:
    """True for a process that still runs; one that waits to be reaped doesn't."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False
