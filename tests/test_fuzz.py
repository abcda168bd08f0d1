"""The short form of `make fuzz`, and whether the campaign would notice what it looks for."""

import mmap
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.campaigns.fuzz.campaign import Limits, run_campaign
from tests.campaigns.fuzz.guard import CANARY, Call, call, judge
from tests.campaigns.fuzz.targets import TARGETS, build_target
from utils.cli import run_main
from utils.errors import DataError

CASES = {"images": 80, "checkpoints": 40, "flips": 60, "options": 60}


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_nothing_but_what_is_documented(name, world):
    folder = world.data.parent
    summary = run_campaign(name, build_target(name, world), range(CASES[name]), 0, folder, Limits())
    assert summary.cases == CASES[name] and not summary.faults
    assert len(summary.outcomes) > 1 or name == "flips"


def test_the_same_case_again(tmp_path):
    def target(rng, place, guard):
        return str(rng.integers(1 << 30)), []

    first, second = (run_campaign("a", target, cases, 7, tmp_path, Limits()) for cases in (range(50), [49]))
    assert second.outcomes.keys() <= first.outcomes.keys() and len(first.outcomes) == 50
    assert run_campaign("a", target, [49], 8, tmp_path, Limits()).outcomes != second.outcomes


def hang(place):
    while True:
        pass


def sleep(place):
    time.sleep(100)


def die(place):
    os.kill(os.getpid(), 11)


def write_elsewhere(place):
    Path(place.parents[1], "elsewhere").write_text("")


def remove_elsewhere(place):
    Path(place.parents[1], "elsewhere").unlink()


def start_a_shell(place):
    subprocess.run(["true"], check=True)


def leave_half_a_file(place):
    Path(place, ".last.pth.x.tmp").write_text("")


def run_code(place):
    Path(place, CANARY).write_text("")


def fill_the_memory(place):
    with mmap.mmap(-1, 1 << 27) as memory:  # new pages, whatever the process has freed before
        memory[:: mmap.PAGESIZE] = bytes(len(memory) // mmap.PAGESIZE)


FAULTS = {
    hang: "hangs",
    sleep: "hangs",
    die: "died",
    write_elsewhere: "outside the output folder",
    remove_elsewhere: "outside the output folder",
    start_a_shell: "subprocess.Popen",
    leave_half_a_file: "left behind",
    run_code: "code was run",
    fill_the_memory: "MiB of memory",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_is_found_and_the_next_case_runs(fault, tmp_path):
    (tmp_path / "elsewhere").write_text("")

    def target(rng, place, guard):
        with guard.watch() as found:
            if place.parent.name == "campaign" and not (place.parent / "second").exists():
                (place.parent / "second").write_text("")
                fault(place)
        return "done", found

    limits = Limits(seconds=0.5, resident=1 << 26)
    summary = run_campaign("a", target, range(2), 0, tmp_path / "campaign", limits)
    assert summary.cases == 2
    assert {row["case"] for row in summary.faults} == {0}
    assert any(FAULTS[fault] in row["what"] for row in summary.faults), summary.faults


@pytest.mark.parametrize(
    ("done", "word"),
    [
        (Call(1, "", "error: internal: KeyError: 'a'; --debug shows where\n", 0), "internal"),
        (Call(7, "", "error: a\n", 0), "exit code 7"),
        (Call(None, "", "Traceback (most recent call last):\n", 0), "Traceback"),
        (Call(3, "", "error: a\nerror: b\n", 0), "2 lines"),
        (Call(3, "", "no line\n", 0), "0 lines"),
        (Call(0, "", "error: a\n", 0), "1 lines"),
        (Call(0, "", "--- Logging error ---\n", 0), "Logging"),
    ],
)
def test_a_call_that_ends_otherwise_is_found(done, word):
    assert any(word in what for what in judge(done, (3,)))


def test_what_is_printed_is_caught_and_judged(tmp_path):
    def body(argv):
        print("a", argv)
        os.write(2, b"from C\n")
        raise DataError("b")

    done = call(lambda argv: run_main(body, argv), ["x"], tmp_path / "printed")
    assert (done.code, done.text, done.errors) == (3, "a ['x']\n", "from C\nerror: b\n") and not judge(done, (3,))
    assert judge(call(lambda argv: sys.exit(9), [], tmp_path / "printed"), (3,))
