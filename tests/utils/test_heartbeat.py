"""Who is lost, stuck or failed: heartbeats of several ranks that share this process, then real processes."""

import io
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice

import pytest
import torch.distributed as dist

from tests.processes import Job
from utils import distributed, heartbeat
from utils.cli import run_main
from utils.errors import PeerLostError
from utils.heartbeat import DONE, Heartbeat, is_lost_peer
from utils.signals import StopRequest


class Rank(Heartbeat):
    """Keeps what would end the process."""

    def __init__(self, *args):
        self.aborted, self.left_early = None, False
        super().__init__(*args)

    def _abort(self, message, alone=False):
        self.aborted = self.aborted or message

    def _leave_early(self):
        self.left_early = True


class Clock:
    """In the place of `time` in utils.heartbeat; seconds pass when a test says so."""

    def __init__(self):
        self.now, self.sleep = time.monotonic(), time.sleep

    def monotonic(self) -> float:
        return self.now

    def advance(self, seconds: float, ranks: list[Rank]) -> None:
        """In steps of 0.1 s, in each of which the ranks that still speak are heard by all."""
        for _ in range(round(10 * seconds)):
            self.now += 0.1
            beats = {rank: rank._said["beat"] for rank in ranks if not rank._closed.is_set()}
            until(
                lambda beats=beats: all(rank._said["beat"] > beat + 1 or rank.aborted for rank, beat in beats.items())
            )


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(heartbeat, "time", clock)
    return clock


@pytest.fixture
def ranks(monkeypatch):
    """Called with a timeout: three ranks, each with a request to stop."""
    monkeypatch.setattr(heartbeat, "INTERVAL_S", 0.005)
    store = dist.TCPStore("127.0.0.1", 0, 1, True, wait_for_workers=False)
    made: list[Rank] = []

    def make(timeout_s: float = 1000.0) -> list[Rank]:
        made.extend(Rank(store.clone(), rank, 3, timeout_s, StopRequest()) for rank in range(3))
        for one in made:
            one.await_all(60)
            one.stop.saveable = True
        return made

    yield make
    for one in made:
        one._closed.set()
        one._thread.join()


def until(condition, seconds: float = 60.0):
    """What `condition` returns once that is true."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.001)
    return value


def test_a_silent_rank_is_named_with_its_last_place(ranks, clock):
    first, second, third = ranks(2.0)
    second.note("step 17", bounded=True)
    until(lambda: first._peers[1].where == "step 17")
    second._closed.set()  # it says no more, not even goodbye
    second._thread.join()
    clock.advance(1.9, [first, second, third])
    assert not first.aborted
    clock.advance(0.3, [first, second, third])
    for one in (first, third):
        message = until(lambda one=one: one.aborted)
        assert "rank 1 on " in message and "step 17" in message and "rank 0" not in message


def test_long_work_of_one_rank_ends_nothing(ranks, clock):
    first, second, third = everyone = ranks(0.5)
    first.note("work of rank 0 alone")
    for one in (second, third):
        one.note("waiting for the others", bounded=True)
    clock.advance(2, everyone)
    assert not any(one.aborted for one in everyone)


def test_ranks_that_wait_for_one_that_does_not_come(ranks, clock):
    first, second, third = everyone = ranks(0.7)
    for one in (first, third):
        one.note("step 5", bounded=True)
    second.note("loading the batch after step 4", bounded=True)
    clock.advance(1, everyone)
    message = until(lambda: first.aborted)
    assert "no progress" in message and "rank 1 at loading the batch after step 4" in message and "--timeout" in message


def test_a_long_step_of_all_ranks_ends_nothing(ranks, clock):
    everyone = ranks(0.5)
    for one in everyone:
        one.note("step 5", bounded=True)
    clock.advance(1.5, everyone)
    assert not any(one.aborted for one in everyone)


def test_a_rank_that_ends_with_a_fault(ranks, monkeypatch):
    monkeypatch.setattr(heartbeat, "FAILED_S", 0.1)
    first, second, third = ranks()
    second.close("DataError: image 3 is missing")
    assert "ended at the start: DataError: image 3 is missing" in until(lambda: first.aborted)
    assert isinstance(third.blame("Connection closed by peer"), PeerLostError)


def test_of_processes_with_one_fault_the_first_says_it(ranks):
    with ThreadPoolExecutor() as pool:
        said = list(pool.map(lambda one: one.close("OptionError: --lr"), ranks()))
    assert said == [False, True, True]


def test_a_message_that_cannot_be_printed_ends_the_process_all_the_same(ranks, monkeypatch):
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    one, codes = ranks()[0], []
    monkeypatch.setattr("sys.stderr", Full())
    monkeypatch.setattr("sys.stdout", Full())
    monkeypatch.setattr(heartbeat.os, "_exit", codes.append)
    monkeypatch.setattr(one, "_are_all_ended", lambda: True)
    Heartbeat._abort(one, "rank 1 is lost", alone=True)
    Heartbeat._leave_early(one)
    assert codes == [PeerLostError.exit_code, 0]


def test_a_process_that_failed_says_so_and_who_misses_it_does_not(ranks, monkeypatch):
    monkeypatch.setattr(heartbeat, "ECHO_S", 0.1)
    first, second, third = ranks()
    assert not second.close("DataError: image 3 is missing")
    for one in (first, third):
        until(lambda one=one: one._peers[1].failed)
        assert one._is_said("PeerLostError: rank 1 ended")


def test_of_those_that_miss_a_killed_process_the_first_says_it(ranks):
    first, second, third = ranks()
    second._closed.set()
    assert not first._is_said("PeerLostError: rank 1 is lost")
    assert third._is_said("PeerLostError: rank 1 is lost")


def test_ranks_that_are_done_are_not_missed(ranks, clock):
    first, second, third = everyone = ranks(0.5)
    second.close(DONE)
    third.close(DONE)
    clock.advance(1.5, everyone)
    assert first.aborted is None
    first.close(DONE)


@pytest.mark.slow
def test_after_a_broken_connection_the_silent_one_is_to_blame(ranks, monkeypatch):
    monkeypatch.setattr(heartbeat, "GONE_S", 1.0)
    first, second, third = ranks()
    second._closed.set()
    second._thread.join()
    assert "rank 1 on " in str(first.blame("Connection closed by peer"))
    everyone_lives = str(third.blame("[gloo] Timed out waiting 60000ms"))
    assert "rank 1 on" in everyone_lives


def test_when_all_live_the_one_whose_operation_did_not_fail_is_to_blame(ranks, monkeypatch):
    monkeypatch.setattr(heartbeat, "GONE_S", 1.5)
    everyone = ranks()
    for one in everyone:
        one.note("step 8", bounded=True)
    with ThreadPoolExecutor() as pool:
        for text in map(str, pool.map(lambda one: one.blame("Timed out"), (everyone[0], everyone[2]))):
            assert text.startswith("rank 1 lives and keeps the others waiting (Timed out): ")
            assert "rank 0 at waiting in vain at step 8, rank 1 at step 8" in text


def test_a_request_to_stop_reaches_everyone(ranks):
    first, second, third = ranks()
    second.stop.ask()
    until(lambda: first.stop.asked and third.stop.asked)
    assert not any(one.left_early for one in (first, second, third))


def test_a_request_before_there_is_something_to_save_ends_everyone(ranks):
    everyone = ranks()
    everyone[1].stop.saveable = False
    everyone[0].stop.ask()
    until(lambda: everyone[1].left_early)


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:40000"), True),
        (dist.DistBackendError("NCCL error"), True),
        (RuntimeError("shape mismatch"), False),
        (RuntimeError("CUDA error: the launch timed out and was terminated"), False),
        (ConnectionResetError("a download"), False),
    ],
)
def test_what_collective_operations_raise(error, lost):
    assert is_lost_peer(error) == lost


def work(seconds: float) -> int:
    """One process of a job that bears 3 s of silence; rank 0 works alone for `seconds`."""

    def body(_):
        with distributed.job("cpu", 3.0):
            distributed.barrier()
            print("ready\n", end="", flush=True)
            distributed.on_main_rank(lambda: time.sleep(seconds))
            distributed.any_rank(False)

    return run_main(body, [])


@pytest.fixture
def pair():
    """Called with the seconds that rank 0 works alone: two processes, ready."""
    with ExitStack() as stack:

        def start(seconds: float) -> Job:
            job = stack.enter_context(Job([work, seconds], processes=2))
            assert list(islice(job.follow(), 2)) == ["ready\n"] * 2
            return job

        yield start


@pytest.mark.slow
def test_work_of_rank_0_that_takes_longer_than_the_timeout(pair):
    done = pair(4.5).wait(60)
    assert done.returncodes == [0, 0]
    assert done.stderr == ""


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.slow)])
def test_a_process_that_is_stopped_or_killed_ends_the_job_with_its_name(pair, number):
    job = pair(1.0)
    job.send(number, rank=1)
    done = job.wait(60, rank=0)
    assert done.returncodes[0] == 7
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: rank 1 on "), done.stderr
