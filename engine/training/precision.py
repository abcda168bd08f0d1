"""In which precision a run trains and validates."""

from typing import NamedTuple

import torch

from engine.inference.precision import Choice, is_computed_here, settle_precision
from engine.training.options import ComputeOptions
from engine.training.resume import Checkpoint
from engine.training.settings import plain
from utils.errors import OptionError


class RunPrecision(NamedTuple):
    """Of optimizer steps, and of validation: as eval.py would score, but in float32 where it is trained so."""

    training: Choice
    validation: Choice


def choose_for_run(options: ComputeOptions, arch: str, device: torch.device, resumed: str | None) -> RunPrecision:
    """The precision that `--amp` names, or that `auto` stands for; `resumed`: of the snapshot, None: a new run."""
    training = settle_precision(options.amp, "training", device, arch, deterministic=options.deterministic)
    if options.amp == "auto" and resumed is not None:
        training = Choice(resumed, "auto: as the run that is resumed")
    if options.amp != "auto" or training.amp == "off" or device.type != "cpu":
        return RunPrecision(training, training)
    return RunPrecision(training, settle_precision(options.amp, "inference", device, arch))


def precision_to_resume(checkpoint: Checkpoint, device: torch.device, override: bool) -> str | None:
    """What `--amp auto` takes of a snapshot; None: with `--resume_override`, what this machine would choose.

    Raises:
        OptionError: This machine isn't made for it.
        CheckpointError: The snapshot holds weights only.
    """
    amp = str(plain(checkpoint.training["settings"].get("amp", "off")))
    if is_computed_here(amp, device):
        return amp
    if override:
        return None
    raise OptionError(
        f"{checkpoint.path}: was trained in {amp}, for which this machine has no instructions; --resume_override"
        f" resumes in float32, --amp {amp} in {amp}, slowly, --resume never starts anew"
    )
