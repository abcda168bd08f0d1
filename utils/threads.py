"""Work on threads: the same for many items, reading ahead, writing behind."""

import functools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

DEPTH = 2  # items that are ready before they are needed, or wait to be written


@functools.cache
def _threads() -> ThreadPoolExecutor:
    """Threads that live as long as the process.

    While a thread that has used OpenCV ends, it holds a lock of OpenCV's. A loader process that is forked in that
    moment inherits the lock, held for ever, and hangs at its first call.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return ThreadPoolExecutor(min(32, 2 * cores), "parallel_map")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.cache_clear)  # a child has none of them


def parallel_map(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Results of `work`, which must not call this function, in the order of `items`; for I/O and what frees the GIL.

    Whatever ends it, an exception of `work` or the caller's: waiting calls are dropped, running ones are waited for.
    """
    calls = [_threads().submit(work, item) for item in items]
    try:
        for call in calls:
            yield call.result()
    finally:
        for call in calls:
            call.cancel()
        wait(calls)


def read_ahead(items: Iterable[T], depth: int = DEPTH) -> Iterator[T]:
    """The same items in the same order, taken from `items` on another thread, at most `depth` in advance.

    An exception of `items` is raised where its item would have come.
    """
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(1, "read_ahead") as pool:
        pending = deque(pool.submit(next, iterator, end) for _ in range(depth))
        while (item := pending.popleft().result()) is not end:
            pending.append(pool.submit(next, iterator, end))
            yield item


class BackgroundWriter:
    """Runs the calls it is given in order on another thread; leaving its context waits for them.

    An exception of a call is raised by a later call, or at the end of the context.

    Args:
        depth: Calls that may wait; a further one blocks.
    """

    def __init__(self, depth: int = DEPTH) -> None:
        self._pool, self._depth = ThreadPoolExecutor(1, "write_behind"), depth
        self._pending: deque[Future] = deque()

    def __call__(self, work: Callable, *args: Any) -> None:
        """Have `work(*args)` run soon."""
        while len(self._pending) >= self._depth:
            self._pending.popleft().result()
        self._pending.append(self._pool.submit(work, *args))

    def __enter__(self) -> "BackgroundWriter":
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        self._pool.shutdown()
        while self._pending and kind is None:
            self._pending.popleft().result()
