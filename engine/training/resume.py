"""What a run may resume from."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from engine.checkpoint.archive import check_file
from engine.checkpoint.finetune import note_temperature
from engine.checkpoint.snapshot import load_snapshot, newest_snapshot
from utils import distributed
from utils.errors import CheckpointError
from utils.logging import get_logger


class Checkpoint(NamedTuple):
    """A snapshot that a run resumes from, and its file."""

    path: Path
    content: dict

    @property
    def training(self) -> dict:
        """Its training state.

        Raises:
            CheckpointError: It has none.
        """
        if "training" not in self.content:
            raise CheckpointError(f"{self.path}: holds weights only, nothing to resume; start from it with --snapshot")
        return self.content["training"]


def find_checkpoint(folder: Path, resume: str, otherwise: str | None = None) -> Checkpoint | None:
    """The snapshot to resume from, said in the log, the same on all ranks; None for a fresh start.

    Args:
        folder: The run's folder.
        resume: `auto` (the newest of the folder), `never`, or a snapshot's path. A job that the queue or torchrun
            started again resumes the run that it began, whatever this says.
        otherwise: A snapshot to take where there is none.

    Raises:
        CheckpointError: A snapshot is missing or damaged, or the ranks find different ones.
    """
    log = get_logger()
    found = read_newest(folder, resume, log.warning)
    if found is None and otherwise is not None:
        found = Path(otherwise), load_snapshot(otherwise)
        require_training(found[1], otherwise)
    checkpoint = None if found is None else Checkpoint(*found)
    state = {} if checkpoint is None else checkpoint.content.get("training", {}).get("state", {})
    places = {f"its {name}": state.get(name) for name in ("step", "epoch", "step_in_epoch", "best_epoch")}
    place = "newest snapshot (--ckpt has to be one folder that all nodes share)"
    distributed.check_equal(places, place, CheckpointError)
    if checkpoint is not None:
        log.info(f"resuming at step {state.get('step')} from {checkpoint.path}")
        note_temperature(checkpoint.content, checkpoint.path)
    return checkpoint


def require_training(content: dict, path: str) -> None:
    """Raises `CheckpointError` unless --restore_optimizer finds the optimizer of the snapshot at `path`."""
    if "training" not in content:
        raise CheckpointError(
            f"--snapshot {path}: holds weights only, no optimizer; leave --restore_optimizer out, or name last.pth"
        )


def read_newest(folder: Path, resume: str, warn: Callable[[str], None]) -> tuple[Path, dict] | None:
    """The file to resume from and its content, without `otherwise`; see `find_checkpoint`. All ranks call it."""
    began, found = any(distributed.gather_objects(_began_here(folder))), None
    if resume == "auto" or began:
        found = newest_snapshot(folder, warn)
    if found is None and resume not in ("auto", "never"):
        check_resume(resume)
        found = Path(resume), load_snapshot(resume)
    return found


def check_resume(resume: str) -> None:
    """Raises `CheckpointError` unless `--resume` is `auto`, `never` or a file."""
    if resume in ("auto", "never"):
        return
    if not Path(resume).exists():
        raise CheckpointError(f"--resume {resume}: no such file; give auto, never, or a snapshot such as last.pth")
    check_file(Path(resume), "--resume")


def _began_here(folder: Path) -> bool:
    """True if this job is started again after it began this run, as far as this process can tell."""
    try:
        began = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError, RecursionError):
        return False
    if not isinstance(began, dict):
        return False
    requeued = distributed.is_requeued() and began.get("job") == distributed.job_id()
    # by torchrun itself: its ids may be those of other launches, and it doesn't count starts for machines that join
    return requeued or distributed.launcher() in (began.get("launchers") or ())
