"""Work on threads: the same for many items, reading ahead, writing behind."""

import functools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from utils.machine import usable_cores

T = TypeVar("T")
R = TypeVar("R")

MANY_CALLS, MOST_ITEMS = 256, 64  # calls that a map is cut into before they get several items, and how many at most
DEPTH = 2  # items that are ready before they are needed, or wait to be written


@functools.cache
def _threads() -> ThreadPoolExecutor:
    """Threads that live as long as the process.

    While a thread that has used OpenCV ends, it holds a lock of OpenCV's. A loader process that is forked in that
    moment inherits the lock, held for ever, and hangs at its first call.
    """
    return ThreadPoolExecutor(min(32, 2 * usable_cores()), "parallel_map")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.cache_clear)  # a child has none of them


def in_background(work: Callable[..., T], *args: Any) -> "Future[T]":
    """Run `work(*args)`, which must not call `parallel_map`, on another thread, beside whatever runs there."""
    return _threads().submit(work, *args)


def parallel_map(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Results of `work`, which must not call this function, in the order of `items`; for I/O and what frees the GIL.

    Whatever ends it, an exception of `work` or the caller's: waiting calls are dropped, running ones are waited for.
    """
    items, ended = list(items), threading.Event()
    # few items: one a call, so that all threads have work; many: a call costs more than a small file
    size = min(MOST_ITEMS, 1 + len(items) // MANY_CALLS)

    starts, calls = range(0, len(items), size), deque()
    calls.extend(_threads().submit(_work_through, work, items[i : i + size], ended) for i in starts)
    try:
        while calls:
            results, error = calls[0].result()  # it stays: an interrupt meanwhile has to wait for it
            calls.popleft()
            yield from results
            if error is not None:
                raise error
    finally:
        ended.set()
        for call in calls:
            call.cancel()
        wait(calls)


def _work_through(
    work: Callable[[T], R], items: Sequence[T], ended: threading.Event
) -> tuple[list[R], Exception | None]:
    """Results in their order, and the exception that came after them."""
    results: list[R] = []
    try:
        for item in items:
            if ended.is_set():
                break
            results.append(work(item))
    except Exception as error:
        return results, error
    return results, None


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
