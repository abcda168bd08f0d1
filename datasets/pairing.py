"""Images without labels and labels without images: a fault for everybody but tools that look at damaged data."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from utils.errors import DataError

_collected: ContextVar[list[DataError] | None] = ContextVar("collected", default=None)


def report_unpaired(error: DataError) -> None:
    """Raises `error`, except within `unpaired_left_out`."""
    collected = _collected.get()
    if collected is None:
        raise error
    collected.append(error)


@contextmanager
def unpaired_left_out() -> Iterator[list[DataError]]:
    """Within it a split is built of the complete samples; the list gets the faults that it would have raised."""
    faults: list[DataError] = []
    token = _collected.set(faults)
    try:
        yield faults
    finally:
        _collected.reset(token)
