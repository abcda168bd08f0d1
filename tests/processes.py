"""Programs in processes of their own, forked from a server that has PyTorch and the project loaded.

A fresh interpreter needs seconds for its imports, a fork some milliseconds. All else is as in a process that a shell or
torchrun starts: environment, arguments, the lines under `if __name__ == "__main__"`, output, signals, exit codes.
"""

import contextlib
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path

from torch.distributed import TCPStore

from utils.signals import die_with_parent

ROOT = Path(__file__).parents[1]
LOADED = ["tests.conftest", "train", "eval", "demo_folder", "tests.warm"]
_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(LOADED)


@dataclass
class Ended:
    """What processes left: exit codes in the order of ranks, and what they printed together."""

    returncodes: list[int | None]
    stdout: str
    stderr: str

    @property
    def returncode(self) -> int:
        """The first exit code that isn't 0."""
        return next(filter(None, self.returncodes), 0)


class Job:
    """A script or function of this project (with its arguments) that runs on one process, or several as under torchrun.

    Unlike torchrun nobody stops the others when one process ends: they have to find out by themselves.
    """

    def __init__(self, command: Sequence, processes: int = 1) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="job-")
        self._outputs = [str(Path(self._folder.name, name)) for name in ("stdout", "stderr")]
        for path in self._outputs:
            Path(path).touch()
        # hosted here, as torchrun does, so its port is free for certain
        self._store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False) if processes > 1 else None
        self.processes = [
            _server.Process(target=_run, args=(list(command), self._environment(rank, processes), *self._outputs))
            for rank in range(processes)
        ]
        with contextlib.chdir(ROOT):  # where the server finds what it loads
            forkserver.ensure_running()
        for process in self.processes:
            process.start()

    def __enter__(self) -> "Job":
        return self

    def __exit__(self, *_: object) -> None:
        """Kill what still runs."""
        self.send(signal.SIGKILL)
        for process in self.processes:
            process.join()
        self._folder.cleanup()

    def _environment(self, rank: int, processes: int) -> dict[str, str]:
        if processes == 1:
            return dict(os.environ)
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
        place |= {"GROUP_RANK": 0, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": self._store.port}
        place |= {"TORCHELASTIC_USE_AGENT_STORE": True, "TORCHELASTIC_RUN_ID": Path(self._folder.name).name}
        return os.environ | {name: str(value) for name, value in place.items()}

    def _alive(self) -> bool:
        return any(process.is_alive() for process in self.processes)

    def send(self, number: int, rank: int | None = None) -> None:
        """Signal one process, or all that still run."""
        for process in self.processes if rank is None else [self.processes[rank]]:
            if process.is_alive():
                os.kill(process.pid, number)

    def follow(self) -> Iterator[str]:
        """The lines of stdout as they come, until all processes have ended."""
        with open(self._outputs[0], errors="backslashreplace") as stdout:
            line = ""
            while True:
                alive = self._alive()
                line += stdout.readline()
                if line.endswith("\n"):
                    yield line
                    line = ""
                elif not alive:
                    return
                else:
                    time.sleep(0.01)

    def wait(self, timeout: float = 300, rank: int | None = None) -> Ended:
        """Wait until all have ended, or one has; the exit code of one that still runs is None.

        Raises:
            subprocess.TimeoutExpired: They don't end; it holds what they printed.
        """
        awaited = self.processes if rank is None else [self.processes[rank]]
        deadline = time.monotonic() + timeout
        for process in awaited:
            process.join(max(0.0, deadline - time.monotonic()))
        out, err = (Path(path).read_bytes().decode(errors="backslashreplace") for path in self._outputs)
        if any(process.exitcode is None for process in awaited):
            raise subprocess.TimeoutExpired(str(awaited), timeout, out, err)
        return Ended([process.exitcode for process in self.processes], out, err)


def _run(command: list, environment: dict[str, str], stdout: str, stderr: str) -> None:
    """Be the program. A script's name, a module after `-m`, or a function comes first; its arguments follow."""
    os.close(forkserver._forkserver._forkserver_alive_fd)  # the server ends with the tests, and with it this process
    die_with_parent()
    os.environ.clear()
    os.environ.update(environment)
    for number, path in ((1, stdout), (2, stderr)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), number)
    multiprocessing.set_start_method(None, force=True)  # that of loader workers: the platform's
    program, *arguments = command
    if callable(program):
        sys.exit(program(*arguments))
    sys.argv = list(map(str, command))
    runpy.run_path(str(ROOT / program), run_name="__main__")


def launch(command: Sequence[str | Path | Callable], processes: int = 1, timeout: float = 300) -> Ended:
    """Run `Job` to its end."""
    with Job(command, processes) as job:
        return job.wait(timeout)


def torchrun(command: Sequence, processes: int, *options: str, timeout: float = 300) -> subprocess.CompletedProcess:
    """The same by torchrun itself, for what only that does: to start again, to stop all, to report."""
    head = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", *options]
    return subprocess.run([*head, *command], cwd=ROOT, capture_output=True, text=True, timeout=timeout)
