"""Runs of entry points under watch: what they print, take, touch and start."""

import os
import re
import resource
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from utils.devices import DRIVER_VERSION
from utils.machine import DESCRIBE

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.chmod", "os.symlink", "os.link", "os.truncate")
STARTS = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "subprocess.Popen", "pty.spawn", "pickle.find_class")
HARMLESS = ("/dev/",)
UNFINISHED = re.compile(r"^\..*\.tmp$")
QUEUED = ("tensorboardX.proto.event_pb2", "concurrent.futures.process")  # what goes through them
CANARY = "CANARY"  # what hostile files try to make


@dataclass
class Call:
    """What came of one call of a `main`."""

    code: object
    text: str  # standard output
    errors: str  # standard error
    seconds: float


class Guard:
    """Notes what the process does outside `folder` and what it starts, once `watch` is entered.

    Args:
        folder: The only place where files may be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.found, self.active, self.memory = folder.resolve(), [], False, 0
        sys.addaudithook(self._audit)  # for good; a worker process has one guard

    @contextmanager
    def watch(self) -> Iterator[list[str]]:
        """Gives the list of what was found; `memory` is then the resident memory that the block took at most."""
        _reset_peak()
        before = _memory("VmRSS")
        self.found, self.active = [], True
        try:
            yield self.found
        finally:
            self.active = False
        self.memory = max(self.memory, _memory("VmHWM") - before)
        self.found += [f"code was run: {path}" for path in self.folder.rglob(f"{CANARY}*")]
        self.found += [f"left behind: {path.name}" for path in self.folder.rglob(".*") if UNFINISHED.match(path.name)]

    def _audit(self, event: str, arguments: tuple) -> None:
        if not self.active:
            return
        if event == "open" and arguments[2] & WRITES:
            self._check_path("open for writing", arguments[0])
        elif event in CHANGES:
            self._check_path(event, arguments[0], arguments[-1])
        elif event in ("socket.connect", "socket.getaddrinfo") and not isinstance(arguments[-1], (str, bytes)):
            self.found.append(f"{event} {arguments[1:]!r}")
        elif event in STARTS and not _is_ours(arguments):
            self.found.append(f"{event} {arguments!r}")

    def _check_path(self, what: str, path: object, folder: object = None) -> None:
        if isinstance(path, int) or path is None:
            return
        base = f"/proc/self/fd/{folder}" if isinstance(folder, int) and folder > 2 else ""
        full = os.path.realpath(os.path.join(base, os.fsdecode(path)))
        inside = os.path.commonpath([full, self.folder]) == str(self.folder)
        if not inside and not full.startswith(HARMLESS):
            self.found.append(f"{what} outside the output folder: {full}")


def _is_ours(arguments: tuple) -> bool:
    """Receipts ask git for the commit, the choice of a device asks nvidia-smi, Python's platform module asks uname.

    Queues use pickle.
    """
    if arguments[0] in ("git", "nvidia-smi", "uname"):
        return list(arguments[1]) in (DESCRIBE, DRIVER_VERSION, ["uname", "-p"])
    return arguments[0] in QUEUED or arguments == ("builtins", "object")


def call(main: Callable[[Sequence[str]], int], argv: Sequence[str], capture: Path) -> Call:
    """`main(argv)` with everything that goes to the two outputs, from C code too, in files beside `capture`."""
    names = [capture.with_suffix(suffix) for suffix in (".out", ".err")]
    started, code = time.monotonic(), None
    with _redirected(names):
        try:
            code = main([str(argument) for argument in argv])
        except SystemExit as stop:
            code = stop.code
        except BaseException:
            traceback.print_exc()
    text, errors = (name.read_text(errors="backslashreplace") for name in names)
    return Call(code, text, errors, time.monotonic() - started)


@contextmanager
def _redirected(names: Sequence[Path]) -> Iterator[None]:
    streams = (sys.stdout, sys.stderr)
    kept, python = [os.dup(1), os.dup(2)], [sys.stdout, sys.stderr]
    for stream in streams:
        stream.flush()
    for number, name in enumerate(names, 1):
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, number)
        os.close(handle)
    sys.stdout, sys.stderr = (os.fdopen(os.dup(n), "w", encoding="utf-8", errors=e) for n, e in _STREAMS)
    try:
        yield
    finally:
        sys.stdout.close()
        sys.stderr.close()
        sys.stdout, sys.stderr = python
        for number, handle in enumerate(kept, 1):
            os.dup2(handle, number)
            os.close(handle)


_STREAMS = ((1, "strict"), (2, "backslashreplace"))  # as Python opens them in a UTF-8 locale


def judge(call: Call, allowed: Sequence[int]) -> list[str]:
    """What is wrong with the way a call ended."""
    found = []
    lines = [line for line in call.errors.splitlines() if line.startswith("error: ")]
    if call.code not in (0, *allowed):
        found.append(f"exit code {call.code!r}, allowed are 0 and {list(allowed)}: {call.errors[-400:]}")
    if len(lines) != (call.code != 0):
        found.append(f"{len(lines)} lines of error with exit code {call.code!r}: {lines}")
    for mark in ("Traceback", "--- Logging error ---", "internal:"):
        if mark in call.errors or mark in call.text:
            found.append(f"{mark!r} is printed: {call.errors[-1000:]}")
    return found


def limit_memory(extra: int) -> None:
    """Refuse this process more than `extra` bytes on top of what it has mapped."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + extra
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _memory(key: str) -> int:
    """Bytes of resident memory: `VmRSS` now, `VmHWM` at most since `_reset_peak`."""
    text = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(rf"^{key}:\s+(\d+)", text, re.MULTILINE)[1])


def _reset_peak() -> None:
    """Let `VmHWM` start anew."""
    Path("/proc/self/clear_refs").write_text("5")
