"""SIGTERM and SIGINT ask a run to stop after its current step."""

import signal
import threading

from utils.distributed import any_rank


class StopRequest:
    """Context manager that turns the first SIGTERM or SIGINT into a request; a second one stops at once."""

    SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)

    def __init__(self) -> None:
        self._asked = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._handle) for number in self.SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: object) -> None:
        if self._asked:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self._asked = True

    def on_any_rank(self) -> bool:
        """True on all ranks if one of them was asked to stop."""
        return any_rank(self._asked)
