"""A training job under torchrun that can be watched, signalled and killed; for chaos.py."""

import contextlib
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STEP = re.compile(r"\bstep (\d+)/\d+ loss ")
RESUMED = re.compile(r"^resuming at step (\d+) from (.+)")
STOPPED = re.compile(r"^stopped at step (\d+), saved")
FRESH = "starting from random weights"
EARLY = "stopped before the first step, nothing to save"
DIGEST = re.compile(r"^final weights sha256: (\w{64})")
LAUNCHER, LOADER = "launcher", "loader worker"


class Hung(Exception):
    """Nothing happened for as long as the watchdog waits."""


@dataclass
class Attempt:
    """What one start of the processes said."""

    resumed: int = 0
    step: int | None = None  # the last one logged
    stopped: int | None = None
    early: bool = False
    validated: bool = False
    digest: str | None = None
    lines: list[str] = field(default_factory=list)

    def hear(self, line: str) -> None:
        """Take note of a line of output."""
        self.lines.append(line)
        if found := STEP.search(line):
            self.step = int(found[1])
        elif found := RESUMED.search(line):
            self.resumed = int(found[1])
        elif found := STOPPED.search(line):
            self.stopped = int(found[1])
        elif found := DIGEST.search(line):
            self.digest = found[1]
        self.early |= line == EARLY
        self.validated |= " mIoU " in line

    @property
    def reached(self) -> int:
        """The last step that is known to be done."""
        return self.resumed if self.step is None else self.step


class Job:
    """`train.py` on several processes, started at once.

    Args:
        arguments: Of train.py.
        processes: Their number.
        restarts: How often torchrun starts them again.
        watchdog_s: Longest wait for a line of output, or for an end.
        log: The output is appended to this file.
    """

    def __init__(self, arguments: Sequence[str], processes: int, restarts: int, watchdog_s: float, log: Path) -> None:
        self.watchdog_s, self._log = watchdog_s, log
        self.attempt = Attempt()
        self._token = uuid.uuid4().hex
        environment = os.environ | {"FENET_JOB": self._token, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
        launcher += [f"--max_restarts={restarts}", "--signals_to_handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"]
        self.process = subprocess.Popen(
            [sys.executable, *launcher, "train.py", *arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with open(self._log, "a") as log:
            for line in self.process.stdout:
                log.write(line)
                self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def follow(self, seconds: float | None = None) -> Iterator[str]:
        """Lines of output as they come, until the output ends, or for so long.

        Raises:
            Hung: There was none for as long as the watchdog waits.
        """
        end = None if seconds is None else time.monotonic() + seconds
        while True:
            wait = self.watchdog_s if end is None else max(0.0, end - time.monotonic())
            try:
                line = self._lines.get(timeout=wait)
            except queue.Empty:
                if end is None:
                    raise Hung(f"no line of output for {wait:.0f} s") from None
                return
            if line is None:
                self._lines.put(None)
                return
            self.attempt.hear(line)
            yield line

    def await_start(self) -> Attempt:
        """Follow to where the processes say from which step they go on; returns the attempt before.

        Raises:
            RuntimeError: They didn't.
        """
        ended = self.attempt
        for line in self.follow():
            if RESUMED.search(line) or FRESH in line:
                self.attempt = Attempt()
                self.attempt.hear(line)
                return ended
        raise RuntimeError("\n".join(["the run did not start again:", *ended.lines[-20:]]))

    def wait(self) -> int:
        """Follow to the end; returns the launcher's exit code. Raises `Hung`."""
        for _ in self.follow():
            pass
        try:
            return self.process.wait(self.watchdog_s)
        except subprocess.TimeoutExpired:
            raise Hung(f"the launcher's output ended, it did not within {self.watchdog_s:.0f} s") from None

    def processes(self) -> dict[str, list[int]]:
        """Process ids by role: `launcher`, `rank 0`, ..., `loader worker`."""
        found: dict[str, list[int]] = {}
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError, IndexError):
                if folder.name.isdigit() and f"FENET_JOB={self._token}".encode() in (folder / "environ").read_bytes():
                    found.setdefault(self._role(folder), []).append(int(folder.name))
        return found

    def _role(self, folder: Path) -> str:
        environment = dict(item.partition("=")[::2] for item in (folder / "environ").read_text().split("\0"))
        parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
        if int(folder.name) == self.process.pid:
            return LAUNCHER
        return f"rank {environment['RANK']}" if parent == self.process.pid and "RANK" in environment else LOADER

    def ranks(self) -> list[int]:
        """Process ids of the training processes that run."""
        return [pid for role, pids in self.processes().items() if role.startswith("rank") for pid in pids]

    def send(self, number: int, pids: Sequence[int]) -> None:
        """Signal processes; one that has just ended is no fault."""
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def orphans(self, seconds: float = 10.0) -> list[int]:
        """Processes that still run so long after the launcher's end; they are killed then."""
        deadline = time.monotonic() + seconds
        while (left := sum(self.processes().values(), [])) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.send(signal.SIGKILL, left)
        return left

    def end(self) -> None:
        """Kill whatever is left."""
        self.send(signal.SIGKILL, sum(self.processes().values(), []))
        self.process.wait()


def answers_signals(pid: int) -> bool:
    """True once a process catches SIGTERM or holds it back; an interpreter that is just starting doesn't."""
    with contextlib.suppress(OSError):
        masks = re.findall(r"^Sig(?:Cgt|Blk):\t(\w+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        return any(int(mask, 16) >> (signal.SIGTERM - 1) & 1 for mask in masks)
    return False
