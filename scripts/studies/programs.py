"""train.py and eval.py as processes of this Python: watched, stopped in time, and gone when the study is killed."""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from utils.errors import ProgramFailed
from utils.signals import die_with_parent

ROOT = Path(__file__).resolve().parents[2]
STOPPED = ("stopped at step", "stopped before the first step")  # what train.py says, and exits with 0
FINISHED = "this run is finished"  # what train.py says where there is nothing to train
MARGIN = (3.0, 60.0)  # seconds, least and most, that a twentieth of the time limit may be
POLL = 0.2  # seconds


class OutOfTime(Exception):
    """The study stops here: its time is over, or it was asked to."""


@dataclass
class Clock:
    """Says when to stop: a margin before a limit in minutes (None: none), or once a signal has asked to."""

    minutes: float | None = None
    asked: bool = False
    started: float = field(default_factory=time.monotonic)

    @property
    def is_over(self) -> bool:
        """True from then on."""
        if self.asked or self.minutes is None:
            return self.asked
        seconds = 60 * self.minutes
        margin = min(max(seconds / 20, MARGIN[0]), MARGIN[1])
        return time.monotonic() - self.started > seconds - margin

    def check(self) -> None:
        """Raise `OutOfTime` where it is over."""
        if self.is_over:
            raise OutOfTime

    def ask(self, number: int, frame: object) -> None:
        """Handler of SIGTERM and SIGINT; a second signal ends the process."""
        self.asked = True
        signal.signal(number, signal.SIG_DFL)


@dataclass(frozen=True)
class Ended:
    """What a program printed, and the most bytes of memory that it held."""

    output: str
    memory: int


def run_program(script: str, arguments: Sequence[str], log: Path, clock: Clock) -> Ended:
    """Run `train.py` or `eval.py` to its end, in this folder, its output in a file.

    Raises:
        OutOfTime: It was asked to stop, and did.
        ProgramFailed: It failed; the message is its own.
    """
    clock.check()
    argv = [sys.executable, str(ROOT / script), *arguments]
    with open(log, "wb") as file:
        process = subprocess.Popen(
            argv, stdout=file, stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=die_with_parent
        )
        code, memory = _wait(process, clock)
    output = log.read_text(errors="backslashreplace")
    if code == 0 and not any(text in output for text in STOPPED):
        return Ended(output, memory)
    clock.check()
    if code == 0:  # someone else stopped it
        raise OutOfTime
    said = [line for line in output.splitlines() if line.startswith("error: ")]
    reason = said[-1].removeprefix("error: ") if said else f"ended with code {code}; {log} says more"
    raise ProgramFailed(f"{command_line(script, arguments)[:300]}: {reason}", code)


def _wait(process: subprocess.Popen, clock: Clock) -> tuple[int, int]:
    """Exit code and peak memory, bytes; once the clock is over, the process is asked to stop."""
    told = False
    while True:
        found, status, usage = os.wait4(process.pid, os.WNOHANG)
        if found:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, usage.ru_maxrss * 1024
        if clock.is_over and not told:
            process.send_signal(signal.SIGTERM)
            told = True
        time.sleep(POLL)


def command_line(script: str, arguments: Sequence[str]) -> str:
    """For a shell in the repository's root."""
    return shlex.join(["python", script, *arguments])
