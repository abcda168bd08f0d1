"""The same work for many items, reading ahead, writing behind: order, bounds, faults."""

import os
import threading
import time

import pytest

from tests.processes import launch
from utils.threads import BackgroundWriter, parallel_map, read_ahead


def squares() -> list[int]:
    return list(parallel_map(lambda x: x * x, range(50)))


def test_results_come_in_order_from_threads_that_stay():
    assert squares() == [x * x for x in range(50)] and list(parallel_map(str, [])) == []
    alive = {thread for thread in threading.enumerate() if thread.name.startswith("parallel_map")}
    assert squares() and alive and alive <= set(threading.enumerate())  # one that ends may hold a lock in a fork


def squares_and_those_of_a_fork() -> int:
    squares()
    child = os.fork()
    if child == 0:
        os._exit(len(squares()))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) - 50


def test_a_fork_starts_threads_of_its_own():
    assert launch([squares_and_those_of_a_fork], timeout=60).returncode == 0


def test_after_a_fault_nothing_runs_any_more():
    ended = []

    def work(item):
        if item == 0:
            raise ValueError("bad")
        time.sleep(0.01)
        ended.append(item)

    with pytest.raises(ValueError, match="bad"):
        list(parallel_map(work, range(2000)))
    count = len(ended)
    time.sleep(0.05)
    assert len(ended) == count < 1999


def test_items_come_in_order_from_another_thread():
    threads = set()

    def items():
        for i in range(50):
            threads.add(threading.get_ident())
            yield i

    assert list(read_ahead(items())) == list(range(50))
    assert len(threads) == 1 and threading.get_ident() not in threads
    assert list(read_ahead([])) == []


def test_no_more_than_the_depth_is_read_in_advance():
    taken = []

    def items():
        for i in range(100):
            taken.append(i)
            yield i

    ahead = read_ahead(items(), depth=3)
    assert next(ahead) == 0
    ahead.close()  # waits for the reads under way
    assert taken == [0, 1, 2, 3]


def test_a_fault_comes_where_its_item_would():
    def items():
        yield 1
        raise ValueError("broken")

    ahead = read_ahead(items(), depth=4)
    assert next(ahead) == 1
    with pytest.raises(ValueError, match="broken"):
        next(ahead)


def test_few_writes_wait():
    given, written, waiting = 0, [], []

    def work(i):
        time.sleep(0.001)  # slower than the loop that gives
        waiting.append(given - i)
        written.append(i)

    with BackgroundWriter(depth=2) as write:
        for given in range(20):
            write(work, given)
    assert written == list(range(20))
    assert max(waiting) <= 2


def test_a_failed_write_is_raised_and_the_others_are_made():
    written = []

    def fail():
        raise OSError("full")

    with pytest.raises(OSError, match="full"), BackgroundWriter() as write:
        write(written.append, 1)
        write(fail)
        write(written.append, 2)
    assert written == [1, 2]


def test_a_fault_elsewhere_lets_pending_writes_finish():
    written = []
    with pytest.raises(KeyError), BackgroundWriter() as write:
        write(written.append, 1)
        raise KeyError("elsewhere")
    assert written == [1]
