"""Forked processes are as those that a shell or torchrun starts."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from tests.processes import Job, launch
from utils import distributed


def say_and_end(code: int) -> None:
    print("out", multiprocessing.get_start_method())
    print("err", file=sys.stderr)
    sys.exit(code)


def test_output_and_exit_code():
    done = launch([say_and_end, 3])
    assert (done.returncode, done.stdout, done.stderr) == (3, f"out {multiprocessing.get_start_method()}\n", "err\n")
    assert launch([say_and_end, 0], processes=2).returncodes == [0, 0]


def fail() -> None:
    raise ValueError("of ours")


def test_an_exception_is_a_traceback_and_code_1():
    done = launch([fail])
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "ValueError: of ours"


def test_the_main_block_of_a_script_runs(monkeypatch):
    monkeypatch.setenv("COLUMNS", "77")
    done = launch(["train.py", "--help"])
    assert done.returncode == 0
    assert done.stdout.startswith("usage: train.py ")
    assert max(map(len, done.stdout.splitlines())) <= 77


def add_ranks() -> None:
    with distributed.job("cpu") as process:
        total = distributed.sum_over_ranks(torch.tensor(process.rank + 1))
        print(f"{os.environ['LOCAL_RANK']} of {process.world_size}: {total}\n", end="")


def test_ranks_are_one_job():
    done = launch([add_ranks], processes=3)
    assert sorted(done.stdout.splitlines()) == ["0 of 3: 6", "1 of 3: 6", "2 of 3: 6"], done.stderr


def wait() -> None:
    print("waiting\n", end="", flush=True)
    time.sleep(60)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_one_of_them(number):
    with Job([wait], processes=2) as job:
        assert next(job.follow()) == "waiting\n"
        job.send(number, rank=1)
        assert job.wait(60, rank=1).returncodes == [None, -number]
        with pytest.raises(subprocess.TimeoutExpired):
            job.wait(0.1)
    assert [process.exitcode for process in job.processes] == [-signal.SIGKILL, -number]
