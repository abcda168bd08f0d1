"""Reading ahead and writing behind: one thread each, in order, with a bounded number of items in memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

DEPTH = 2  # items that are ready before they are needed, or wait to be written


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
