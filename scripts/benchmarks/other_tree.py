"""Files of another revision of this repository, and its train.py in a process that works only when it is told to."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from utils.errors import OptionError, ProgramFailed
from utils.machine import ROOT

STEP = re.compile(r"step \d+/\d+ loss (\S+)")


def write_revision(revision: str, folder: Path) -> str:
    """Write the files of `revision` into `folder`; returns its full hash.

    Raises:
        OptionError: It isn't in this repository, or this isn't one.
    """
    try:
        found = _git("rev-parse", "--verify", f"{revision}^{{commit}}").strip()
        _git("archive", "--format=tar", "--output", str(folder / "files.tar"), found)
        subprocess.run(["tar", "-x", "-f", "files.tar"], cwd=folder, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = (getattr(error, "stderr", "") or str(error)).strip()
        raise OptionError(f"--against {revision}: git knows no such revision of {ROOT} ({reason})") from error
    return found


def _git(*words: str) -> str:
    return subprocess.run(["git", "-C", str(ROOT), *words], check=True, capture_output=True, text=True).stdout


class TrainingProcess:
    """A run of train.py, stopped (SIGSTOP) but for the turns that it is given.

    Attributes:
        losses: Of the steps so far.
        seconds: Of each turn's steps but the first, which was under way when the turn before ended.

    Args:
        tree: Where train.py lies.
        options: Of train.py, with `--log_every 1`.
        errors: File for what it says on standard error.
    """

    def __init__(self, tree: Path, options: Sequence[str], errors: Path) -> None:
        self.losses: list[float] = []
        self.seconds: list[list[float]] = []
        self._tree, self._options, self._errors = tree, options, errors
        self._process: subprocess.Popen | None = None

    def _start(self) -> subprocess.Popen:
        with self._errors.open("w") as file:
            return subprocess.Popen(
                [sys.executable, "train.py", *self._options],
                cwd=self._tree,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
                process_group=0,  # in this session: if this process dies, stopped ones get SIGHUP
            )

    def advance(self, steps: int) -> None:
        """Let it work until it has said the losses of so many steps.

        Raises:
            OptionError: It is done before.
            ProgramFailed: It ends with an error.
        """
        if self._process is None:  # not before: until it has said something it couldn't be stopped at a known place
            self._process = self._start()
        os.killpg(self._process.pid, signal.SIGCONT)
        said = []
        for line in self._process.stdout:
            if found := STEP.search(line):
                said.append(time.perf_counter())
                self.losses.append(float(found[1]))
                if len(said) == steps:
                    os.killpg(self._process.pid, signal.SIGSTOP)
                    self.seconds.append([later - earlier for earlier, later in zip(said, said[1:], strict=False)])
                    return
        made, status = len(self.losses), self._process.wait()
        if status == 0:
            raise OptionError(f"--steps: train.py is done after {made} steps by these options; give {made} or fewer")
        told = " ".join(self._errors.read_text().split())[-500:]
        raise ProgramFailed(f"train.py ended after {made} steps with status {status}: {told}", status)

    def end(self) -> None:
        """Kill it and what it started."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process.stdout.close()
