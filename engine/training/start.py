"""What is compared and said before the first step of a run."""

import platform
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from datasets.base import Split
from datasets.index import SplitIndex, open_index
from engine.checkpoint.digests import weights_sha256
from engine.inference.precision import warn_if_emulated
from engine.training.precision import RunPrecision
from engine.training.trainer import Trainer
from utils import distributed
from utils.devices import float32_precision
from utils.distributed import Process
from utils.errors import CheckpointError, DataError, EnvironmentFault, OptionError
from utils.logging import get_logger

# options that processes of one job may have each their own of
OWN = frozenset("data_root num_workers ckpt tb_path device debug snapshot pretrained resume arguments".split())


class Splits(NamedTuple):
    """What is trained and validated on."""

    train: Split
    val: Split


class Indexes(NamedTuple):
    """What the files of the splits hold."""

    train: SplitIndex
    val: SplitIndex


def open_indexes(splits: Splits, folder: Path) -> Indexes:
    """As rank 0 reads them, once where both splits are the same; kept in `folder`, the run's `--ckpt`."""

    def read() -> Indexes:
        train = open_index(splits.train, folder, progress=True)
        same = splits.val.split == splits.train.split and len(splits.val) == len(splits.train)
        return Indexes(train, train if same else open_index(splits.val, folder, progress=True))

    return distributed.from_first_rank(read)


def warn_of_overlap(splits: Splits) -> None:
    """Say in the log if images that are validated on are trained on, too."""
    train, val = splits
    shared = len(set(val.image_paths()).intersection(train.image_paths()))
    if shared:
        get_logger().warning(
            f"{shared} of the {len(val)} images of --val_split {val.split} are trained on in --train_split"
            f" {train.split}: the validation score says little about new images"
        )


def compare_splits(splits: Splits, process: Process) -> None:
    """Refuse to read the files where the processes don't see the same samples: one reads them for all."""
    if process.world_size == 1:
        return
    names = {f"{part}_split": split.split for part, split in splits._asdict().items()}
    distributed.check_equal(names, "options", OptionError)
    for split in splits:
        distributed.check_equal({split.split: split.fingerprint()}, "data", DataError)


def compare_ranks(trainer: Trainer) -> None:
    """Refuse to start where the processes don't agree on options, versions or weights."""
    if trainer.process.world_size == 1:
        return
    options = {name: repr(value) for name, value in trainer.identity.options.items() if name not in OWN}
    versions = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
    weights = {"step": trainer.state.step, "sha256": weights_sha256(trainer.learner.model.state_dict())}
    distributed.check_equal(options, "options", OptionError)
    distributed.check_equal(versions, "versions", EnvironmentFault)
    distributed.check_equal(weights, "starting point", CheckpointError)


def log_start(splits: Splits, trainer: Trainer, command: str, precision: RunPrecision) -> None:
    """Say in the log what the run is."""
    model, schedule, options = trainer.learner.model, trainer.schedule, trainer.identity.options
    classes, (train, val) = splits.train.classes, splits
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    total = sum(parameter.numel() for parameter in model.parameters())
    computed = str(precision.training)
    if precision.validation != precision.training:
        computed += f"; of validation: {precision.validation}"
    if trainer.process.device.type == "cuda":
        computed += f"; TF32: {float32_precision()}"
    for line in (
        f"model: {options['arch']}, {total:,} parameters, {trained:,} of them trained; norms: {options['norm']}",
        f"data: {train.dataset} in {options['data_root']}; {len(train)} images of {train.split} to train on,"
        f" {len(val)} of {val.split} to validate on",
        f"classes: {classes.num_classes} ({', '.join(classes.names)})",
        f"schedule: {schedule} of {schedule.images_per_step} crops",
        f"device: {options['device']}; processes: {options['processes']}; threads: {torch.get_num_threads()};"
        f" loader processes: {options['num_workers']}; precision: {computed}",
        f"folder: {trainer.folder.path}",
        f"command: {command}",
    ):
        get_logger().info(line)
    warn_if_emulated(precision.training, trainer.process.device)
    ramp, steps = trainer.learner.schedule.options.warmup_steps, schedule.total_steps
    if ramp >= steps:
        get_logger().warning(f"--warmup_steps {ramp}: the run has {steps} steps, so its rate never reaches --lr")
