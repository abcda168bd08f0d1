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
    """Context manager that holds `folder` for this process.

    The lock is a POSIX record lock on `.lock`, which names the holder. Processes forked from this one don't inherit it,
    and it works across hosts where the file system does. Where there are no such locks, a line in the log says so.

    Raises:
        EnvironmentFault: Another process holds the folder; the message names it.
    """

    def __init__(self, folder: Path) -> None:
        self.path = Path(folder) / NAME
        self._file: TextIO | None = None

    def __enter__(self) -> "RunLock":
        if fcntl is None:
            return self
        self._file = open(self.path, "a+", encoding="utf-8")
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _holder(self._file)
            self.__exit__()
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                get_logger().warning(f"{self.path}: cannot be locked ({error.strerror}); start one run per folder only")
                return self
            raise EnvironmentFault(
                f"{self.path.parent}: {holder} is writing here; wait for it, stop it, or choose another --exp"
            ) from error
        self._file.truncate(0)
        json.dump({"pid": os.getpid(), "host": socket.gethostname()}, self._file)
        self._file.flush()
        return self

    def __exit__(self, *_: object) -> None:
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
