"""Signals that ask a run to stop, and processes that don't outlive the one that started them; needs no library."""

import ctypes
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress

SIGNALS = (signal.SIGTERM, signal.SIGINT, *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else []))
EARLY = "stopped before the first step, nothing to save"


def prepare_process() -> None:
    """For the first lines of a program that uses `StopRequest`: until then its signals wait, however long imports take.

    A worker of torchrun also ends with its launcher from here on.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        die_with_parent()
    if hasattr(signal, "pthread_sigmask"):  # not on Windows
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent ends, however that ends (Linux; elsewhere nothing happens)."""
    if sys.platform == "linux":
        set_parent_death_signal = 1  # PR_SET_PDEATHSIG in linux/prctl.h
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


class StoppedEarly(SystemExit):
    """A request to stop before there was anything to save: exit code 0."""

    def __init__(self) -> None:
        super().__init__(0)


class StopRequest:
    """Context manager that turns the first SIGTERM, SIGINT or SIGUSR1 into a request; a later one stops at once.

    Schedulers signal every process and torchrun passes its own signal on, so one request may arrive several times:
    repeats within `REPEAT_S` seconds are the same request.

    Attributes:
        asked: True once this process, or through `ask` another one of the job, was asked to stop.
        saveable: Set it when there is something to save. Before, a request ends a process that is alone at once,
            and the processes of a job as soon as they know from each other (`utils.heartbeat`).
    """

    REPEAT_S = 5.0

    def __init__(self) -> None:
        self.asked = self.saveable = False
        self._alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
        self._signalled_at: float | None = None
        self._previous: dict[int, object] = {}
        self._previous_wakeup = -1
        self._arrivals: list[socket.socket] = []  # Python writes the numbers of signals into the second, as they arrive

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._handle) for number in SIGNALS}
            self._arrivals = list(socket.socketpair())
            for end in self._arrivals:
                end.setblocking(False)
            self._previous_wakeup = signal.set_wakeup_fd(self._arrivals[1].fileno(), warn_on_full_buffer=False)
            if hasattr(signal, "pthread_sigmask"):
                signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return self

    def __exit__(self, *_: object) -> None:
        if self._previous:
            signal.set_wakeup_fd(self._previous_wakeup)
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        for end in self._arrivals:
            end.close()

    def ask(self) -> None:
        """Another process of the job was asked."""
        self.asked = True

    def look(self) -> None:
        """For another thread: learn of a signal whose handler waits until the main thread leaves a library's code."""
        with suppress(OSError):  # nothing arrived, or it was closed meanwhile
            if self._arrivals and not set(SIGNALS).isdisjoint(self._arrivals[0].recv(4096)):
                self.ask()

    def _handle(self, number: int, frame: object) -> None:
        now = time.monotonic()
        self.asked = True
        if self._alone and not self.saveable:
            raise StoppedEarly
        if self._signalled_at is None:
            self._signalled_at = now
        elif now - self._signalled_at > self.REPEAT_S:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
