"""One run per folder: a lock that the system releases however the run ends."""

import json
import os
import socket
from pathlib import Path

from filelock import FileLock, Timeout

from utils.errors import EnvironmentFault
from utils.logging import get_logger


class RunLock:
    """Holds a run's folder for one process, by a lock on `.lock`, which names the holder.

    Processes forked from this one don't inherit it. Where the file system has no locks, a line in the log says so. As
    a context manager it is released at the end.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / ".lock"
        self._lock = FileLock(self.path, timeout=0, fallback_to_soft=False, on_acquired=_sign)

    def __enter__(self) -> "RunLock":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            EnvironmentFault: Another process holds it; the message names it.
        """
        try:
            self._lock.acquire()
        except Timeout as error:
            raise EnvironmentFault(
                f"{self.path.parent}: {self._holder()} is writing here; wait for it, stop it, or choose another --exp"
            ) from error
        except OSError as error:
            if error.filename is not None:  # it can't even be opened
                raise
            get_logger().warning(f"{self.path}: cannot be locked ({error.strerror}); start one run per folder only")

    def release(self) -> None:
        """Give it back; without it, a no-op."""
        self._lock.release()

    def _holder(self) -> str:
        try:
            owner = json.loads(self.path.read_text())
            return f"process {owner['pid']} on {owner['host']}"
        except (OSError, ValueError, KeyError, TypeError):
            return "another process"


def _sign(file: int) -> None:
    os.ftruncate(file, 0)
    os.write(file, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())
