"""What a run leaves: its folder, with lock, log, options, figures, snapshots, pictures and report."""

import itertools
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from engine.checkpoint.run_state import RunState
from engine.checkpoint.snapshot import adopt, previous_path, save_snapshot
from engine.report import update_curves
from engine.report.page import versions
from engine.training.events import NAMES, check_owner
from engine.training.lock import RunLock
from engine.training.options import RunOptions
from engine.training.recorder import Recorder
from engine.training.resume import Checkpoint, find_checkpoint
from utils.distributed import Process, on_main_rank
from utils.drawing import save_png
from utils.errors import DataError
from utils.files import make_folder, read_json, write_json
from utils.logging import get_logger
from utils.machine import present_revision

SNAPSHOTS = ("last.pth", "last_previous.pth", "best.pth")
RESULTS = ("report.html", "config.json", "metrics.jsonl", "sampling.jsonl", "pictures")  # log.txt goes on


class RunFolder:
    """The folder of one run, held from `with` to its end; only rank 0 writes. A run that doesn't begin leaves none.

    Args:
        options: Where it is.
        process: This process.

    Raises (on entering):
        EnvironmentFault: It can't be made, or another process holds it.
    """

    def __init__(self, options: RunOptions, process: Process) -> None:
        self.options, self.path, self.is_main = options, options.folder, process.is_main
        self.config, self.log, self.metrics = (self.path / name for name in ("config.json", "log.txt", "metrics.jsonl"))
        self.last, self.best, self.report = (self.path / name for name in ("last.pth", "best.pth", "report.html"))
        self._lock, self._made = RunLock(self.path), []
        self.recorder: Recorder | None = None

    def __enter__(self) -> "RunFolder":
        on_main_rank(self._open)
        return self

    def _open(self) -> None:
        self._made = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        make_folder(self.path, "--ckpt or --exp")
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        if self.recorder is not None:
            self.recorder.close()
        self._lock.release()
        if self._made and not self.config.exists():  # the run didn't get as far as to begin
            for file in (self.log, self._lock.path):
                file.unlink(missing_ok=True)
            for folder in self._made:
                with suppress(OSError):  # it holds something of use
                    folder.rmdir()

    def find_checkpoint(self, otherwise: str | None = None) -> Checkpoint | None:
        """What the run resumes from, as `--resume` says; see `engine.training.resume.find_checkpoint`."""
        return find_checkpoint(self.path, self.options.resume, otherwise)

    def is_newest(self, path: Path) -> bool:
        """True for the folder's `last.pth`, and for what it was before."""
        return path.resolve() in (self.last.resolve(), previous_path(self.last).resolve())

    def prepare(
        self,
        resumed: Path | None,
        options: dict,
        command: str,
        changes: dict | None = None,
        has_best: bool = True,
        trains: bool = True,
    ) -> None:
        """Make room, see `prepare_run_folder`, and write `config.json`: all options, and what the run comes from.

        Args:
            resumed: The snapshot that the run resumes from.
            options: All of them.
            command: The command line.
            changes: Since that snapshot, see `RunChanges.record`; `resumed` in `config.json` has those of all resumes.
            has_best: `best.pth`, if it is there, is that of the snapshot.
            trains: False: the run is finished, and what it was made by stays in `config.json`.
        """

        def write() -> None:
            check_owner(self.options.tensorboard_folder, self.path)
            prepare_run_folder(self.path, resumed, self.options.tensorboard_folder, has_best)
            history = self._history() + ([changes] if changes and changes["changed"] else [])
            origin = {"revision": present_revision(), "versions": versions(), "host": socket.gethostname()}
            if not trains:
                origin |= {name: value for name, value in self._content().items() if name in origin}
            write_json(self.config, options | {"command": command} | origin | ({"resumed": history} if history else {}))

        on_main_rank(write)

    def _content(self) -> dict:
        """Of `config.json`; empty where it is missing or damaged."""
        try:
            return read_json(self.config)
        except DataError:
            return {}

    def _history(self) -> list[dict]:
        found = self._content().get("resumed")
        return found if isinstance(found, list) else []

    def record_from(self, state: RunState) -> None:
        """Open `metrics.jsonl` and the TensorBoard events for what comes after `state`."""
        self.recorder = Recorder(self.path, self.options.tensorboard_folder, self.is_main, state)

    def save_last(self, snapshot: dict) -> None:
        """Write `last.pth`, whose predecessor stays, after all figures up to it."""
        self.recorder.flush()  # a run that resumes from here doesn't write these again
        save_snapshot(self.last, snapshot, keep_previous=True)

    def save_best(self, snapshot: dict) -> None:
        """Write `best.pth`."""
        save_snapshot(self.best, snapshot)

    def save_picture(self, name: str, picture: np.ndarray, step: int) -> None:
        """Write an RGB picture (H,W,3) uint8 into `pictures/` and TensorBoard."""
        save_png(self.path / "pictures" / f"{name}.png", picture)
        self.recorder.picture(name, picture, step)

    def update_report(self) -> None:
        """Draw the curves in `report.html` anew, if it is there."""
        if self.is_main:
            with best_effort("curves"):
                update_curves(self.report, self.metrics)


@contextmanager
def best_effort(what: str) -> Iterator[None]:
    """A block whose faults are said, and cost the run `what` only."""
    try:
        yield
    except Exception as error:  # of any kind: days of training are worth more than a picture
        get_logger().warning(f"the run continues without {what}: {type(error).__name__}: {error}")


def prepare_run_folder(
    folder: Path, resumed: Path | None, tensorboard: Path | None = None, has_best: bool = True
) -> None:
    """Before a run writes: sweep what a killed one left, and move what it would overwrite into `replaced_N`.

    Args:
        folder: The run's folder.
        resumed: The snapshot that the run resumes from. None, or one that lies elsewhere: all results of the run that
            is here move aside.
        tensorboard: The folder of the events; None: they are in `folder`.
        has_best: `best.pth`, if it is there, is that of the snapshot.
    """
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink()
    last, best = folder / "last.pth", folder / "best.pth"
    is_last = resumed is not None and resumed.resolve() == last.resolve()
    if resumed is None or resumed.resolve().parent != folder.resolve():
        if any((folder / name).exists() for name in SNAPSHOTS):
            set_aside(folder, [*(folder / name for name in (*SNAPSHOTS, *RESULTS)), *folder.glob(NAMES)])
        if tensorboard not in (None, folder):
            set_aside(tensorboard, tensorboard.glob(NAMES))
    elif resumed.resolve() == previous_path(last).resolve():
        set_aside(folder, [last])  # damaged: its successor must not replace the good one
    elif not is_last:  # the user goes back
        set_aside(folder, [last, previous_path(last), *([] if has_best else [best])])
    if resumed is not None and not is_last:
        adopt(resumed, last)  # from now on this run's, also if it ends before it saves


def set_aside(folder: Path, paths: Iterable[Path]) -> None:
    """Move those of `paths`, all in `folder`, that exist into a new subfolder `replaced_N`."""
    stale = [path for path in paths if path.exists()]
    if stale:
        number = next(n for n in itertools.count(1) if not (folder / f"replaced_{n}").exists())
        (folder / f"replaced_{number}").mkdir()
        for path in stale:
            os.replace(path, folder / f"replaced_{number}" / path.name)
