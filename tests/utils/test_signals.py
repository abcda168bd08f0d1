"""Requests to stop, and a child that ends with its parent."""

import ctypes
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.processes import Job
from utils.cli import run_main
from utils.signals import StopRequest, die_with_parent, prepare_process


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


def wait_before_the_run(gate: Path) -> int:
    """A program that imports until `gate` exists."""
    prepare_process()
    print("importing", flush=True)
    while not gate.exists():
        time.sleep(0.01)

    def body(argv):
        with StopRequest():
            print("never", flush=True)

    return run_main(body, [])


def test_a_signal_during_the_imports_waits(tmp_path):
    with Job([wait_before_the_run, tmp_path / "gate"]) as job:
        next(job.follow())
        job.send(signal.SIGTERM)
        time.sleep(0.2)
        assert job.processes[0].is_alive()
        (tmp_path / "gate").touch()
        done = job.wait(60)
    assert done.returncode == 0
    assert done.stdout.splitlines()[1:] == ["stopped before the first step, nothing to save"]


def wait_inside_a_library() -> None:
    """A main thread that never returns from C, and another thread that looks for signals."""
    mutex = ctypes.create_string_buffer(128)  # zeros: unlocked; locked twice by its owner, it waits for good
    with StopRequest() as stop:

        def watch() -> None:
            while not stop.asked:
                stop.look()
                time.sleep(0.01)
            print("asked", flush=True)
            os._exit(0)

        stop.saveable = True
        threading.Thread(target=watch, daemon=True).start()
        print("waiting", flush=True)
        for _ in range(2):
            ctypes.CDLL(None).pthread_mutex_lock(mutex)


@pytest.mark.skipif(sys.platform != "linux", reason="takes glibc's mutex")
def test_another_thread_learns_of_a_signal_while_the_main_thread_is_inside_a_library():
    with Job([wait_inside_a_library]) as job:
        next(job.follow())
        job.send(signal.SIGTERM)
        done = job.wait(60)
    assert done.returncode == 0
    assert done.stdout.splitlines() == ["waiting", "asked"]


def test_other_signals_are_no_request(monkeypatch):
    with StopRequest() as stop:
        before = signal.signal(signal.SIGCHLD, lambda *_: None)  # as PyTorch's loader has one
        signal.raise_signal(signal.SIGCHLD)
        signal.signal(signal.SIGCHLD, before)
        stop.look()
        assert not stop.asked


def have_a_child() -> None:
    if os.fork() == 0:
        die_with_parent()
        print(os.getpid(), flush=True)
    time.sleep(60)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's prctl")
def test_a_child_ends_with_its_parent():
    with Job([have_a_child]) as job:
        child = int(next(job.follow()))
        assert alive(child)
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
