"""SIGTERM and SIGINT ask a run to stop after its current step."""

import signal
import threading
import time

from utils.distributed import any_rank


class StopRequest:
    """Context manager that turns the first SIGTERM, SIGINT or SIGUSR1 into a request; a later one stops at once.

    Schedulers signal every process and torchrun passes its own signal on, so one request may arrive several times:
    repeats within `REPEAT_S` seconds are the same request.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    REPEAT_S = 5.0

    def __init__(self) -> None:
        self._asked_at: float | None = None
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._handle) for number in self.SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: object) -> None:
        now = time.monotonic()
        if self._asked_at is None:
            self._asked_at = now
        elif now - self._asked_at > self.REPEAT_S:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def on_any_rank(self) -> bool:
        """True on all ranks if one of them was asked to stop."""
        return any_rank(self._asked_at is not None)
