"""One run per folder: a lock that the system releases however the run ends."""

import errno
import json
import os
import socket
from pathlib import Path
from typing import TextIO

from utils.errors import EnvironmentFault
from utils.logging import get_logger

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

NAME = ".lock"


class RunLock:
    """Holds a run's folder for one process.

    A POSIX record lock on `.lock`, which names the holder. The system releases it however the process ends; processes
    forked from this one don't inherit it. Where there are no such locks, a line in the log says so. As a context
    manager it is released at the end.
    """

    def __init__(self, folder: Path) -> None:
        self.path = Path(folder) / NAME
        self._file: TextIO | None = None

    def __enter__(self) -> "RunLock":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            EnvironmentFault: Another process holds it; the message names it.
        """
        if fcntl is None:
            return
        self._file = open(self.path, "a+", encoding="utf-8")
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _holder(self._file)
            self.release()
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise EnvironmentFault(
                    f"{self.path.parent}: {holder} is writing here; wait for it, stop it, or choose another --exp"
                ) from error
            get_logger().warning(f"{self.path}: cannot be locked ({error.strerror}); start one run per folder only")
            return
        self._file.truncate(0)
        json.dump({"pid": os.getpid(), "host": socket.gethostname()}, self._file)
        self._file.flush()

    def release(self) -> None:
        """Give it back; without it, a no-op."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _holder(file: TextIO) -> str:
    try:
        file.seek(0)
        owner = json.load(file)
        return f"process {owner['pid']} on {owner['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
