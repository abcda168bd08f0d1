"""How long a run is, where it stands, and whether it may go on from a snapshot."""

from dataclasses import dataclass
from pathlib import Path

import torch

from utils.errors import CheckpointError, OptionError

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


@dataclass(frozen=True)
class TrainSchedule:
    """How long a run is and what happens when; steps are optimizer steps."""

    max_epoch: int
    steps_per_epoch: int
    seed: int
    accumulate: int = 1
    max_steps: int | None = None
    save_every: int | None = None
    log_every: int = 20
    eval_epoch: int = 0
    val_every: int = 1
    max_skipped_steps: int = 10
    freeze_norms: bool = False
    memory_format: torch.memory_format = torch.contiguous_format
    batch_images: int = 1  # per process and batch

    @property
    def total_steps(self) -> int:
        """The schedule's horizon."""
        return self.max_epoch * self.steps_per_epoch

    def validates(self, epoch: int) -> bool:
        """True if this epoch (from 0) ends with a validation."""
        last = epoch == self.max_epoch - 1
        return last or (epoch >= self.eval_epoch and (epoch + 1) % self.val_every == 0)


def check_resumable(saved: dict, present: dict, path: Path, override: bool) -> list[str]:
    """Compare the settings of a snapshot with those of the run that wants to go on from it.

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
            " --resume_override to go on with the new ones, or --resume never"
        )
    return of_job
