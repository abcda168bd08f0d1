"""What a run may resume from."""

import json
from pathlib import Path
from typing import NamedTuple

from engine.checkpoint.snapshot import load_snapshot, newest_snapshot
from utils import distributed
from utils.errors import CheckpointError, OptionError
from utils.logging import get_logger

# a change of these makes another model or optimizer, whose state doesn't fit
MODEL_SETTINGS = ("arch", "backbone", "classes", "channels", "aux", "boundary", "filter_kernel", "fem_d", "fem_s")
MODEL_SETTINGS += ("norm_groups", "optimizer")
# of the job that computes the steps: they may change, and the log says so
JOB_SETTINGS = {
    "processes": "processes",
    "bs_mult": "crops per process",
    "accumulate": "batches per step",
    "norms": "norms",
}


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
    found, log = None, get_logger()
    if resume == "auto" or _began_here(folder):
        found = newest_snapshot(folder, log.warning)
    elif resume != "never":
        found = Path(resume), load_snapshot(resume)
    if found is None and otherwise is not None:
        found = Path(otherwise), load_snapshot(otherwise)
    checkpoint = None if found is None else Checkpoint(*found)
    step = checkpoint and checkpoint.content.get("training", {}).get("state", {}).get("step")
    place = "newest snapshot (--ckpt has to be one folder that all nodes share)"
    distributed.check_equal({"its step": step}, place, CheckpointError)
    if checkpoint is not None:
        log.info(f"resuming at step {step} from {checkpoint.path}")
    return checkpoint


def _began_here(folder: Path) -> bool:
    """True if this job is started again after it began this run."""
    try:
        began = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        return False
    return distributed.is_restart() and began.get("job") == distributed.job_id()


def check_resumable(saved: dict, present: dict, path: Path, override: bool) -> list[str]:
    """Compare the settings of a snapshot with those of the run that wants to resume from it.

    Returns:
        What changed of the job that computes the steps, in words.

    Raises:
        CheckpointError: It is of another model, other classes or another optimizer.
        OptionError: Something else changed and `override` is False.
    """
    changed = {name: f"{name} was {saved.get(name)}, is {present[name]}" for name in present}
    # a setting that the snapshot doesn't know came after it, with a default that changes nothing
    changed = {name: text for name, text in changed.items() if name in saved and saved[name] != present[name]}
    of_job = [
        f"{JOB_SETTINGS[name]} {saved[name]} -> {present[name]}" for name in JOB_SETTINGS if changed.pop(name, "")
    ]
    of_model = [text for name, text in changed.items() if name in MODEL_SETTINGS]
    if of_model:
        raise CheckpointError(f"{path}: of another model: {', '.join(of_model)}; give its options, or --resume never")
    if changed and not override:
        raise OptionError(
            f"{path}: was trained with other options: {', '.join(changed.values())}; give the old ones,"
            " --resume_override to resume with the new ones, or --resume never"
        )
    return of_job
