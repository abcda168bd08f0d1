"""Reading ahead and writing behind: order, bounds, faults."""

import threading
import time

import pytest

from utils.threads import BackgroundWriter, read_ahead


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
