"""What a run starts from: the model and weights of a snapshot, an encoder's weights, or random ones."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

import network
from config import TrainConfig
from datasets.base import Split
from engine.checkpoint import load_pretrained
from engine.checkpoint.archive import check_file
from engine.checkpoint.digests import is_snapshot
from engine.checkpoint.finetune import loads_little, snapshot_config, start_from
from engine.checkpoint.pretrained_sources import RELEASE_FOLDER, check_source, find_deep_stems
from engine.checkpoint.snapshot import read_snapshot_file
from engine.evaluation.seen import seen_images
from engine.training.precision import precision_to_resume
from engine.training.resume import Checkpoint, check_resume, read_newest
from utils import distributed
from utils.logging import get_logger


def like_snapshot(config: TrainConfig) -> TrainConfig:
    """The config whose model is that of `--snapshot`, where a snapshot of ours is named and the options leave it open.

    Raises:
        CheckpointError: The snapshot is damaged.
        OptionError: Its model doesn't take an option that was given.
    """
    path = config.weights.snapshot
    return _like(config, snapshot_config(path) if path and os.path.exists(path) else None)  # `check_start` refuses


def like_start(config: TrainConfig) -> TrainConfig:
    """`like_snapshot` of a run that begins. One that resumes has the model of what it resumes from: the file of
    `--snapshot` may be gone, or another one by now.

    Raises:
        CheckpointError, OptionError: As `like_snapshot`.
    """
    run = config.run
    found = read_newest(run.folder, run.resume, lambda _: None) if config.weights.snapshot else None
    saved = found[1].get("config") if found else None
    return _like(config, saved) if saved else like_snapshot(config)


def _like(config: TrainConfig, saved: Mapping | None) -> TrainConfig:
    return config if saved is None else replace(config, model=config.model.like(saved["arch"], saved["options"]))


def like_checkpoint(config: TrainConfig, checkpoint: Checkpoint | None, device: torch.device) -> TrainConfig:
    """The config whose precision is that of the snapshot that the run resumes from, where `--amp` leaves it open.

    Raises:
        OptionError: This machine has no instructions for it, and `--resume_override` doesn't allow another.
        CheckpointError: The snapshot holds weights only.
    """
    if checkpoint is None or config.compute.amp != "auto":
        return config
    return replace(config, resumed_amp=precision_to_resume(checkpoint, device, config.run.resume_override))


def check_start(config: TrainConfig) -> None:
    """Refuse weights that aren't there before all files of the data are looked at.

    Raises:
        OptionError: `--pretrained` names nothing, which a run that resumes may have lost.
        CheckpointError: `--resume` or `--teacher` names no file; nor does `--snapshot`, which it may have lost as well.
    """
    weights, run = config.weights, config.run
    if not (run.folder / "last.pth").exists():  # else a job that is started again may resume that
        check_resume(run.resume)
    if config.loss.teacher:
        check_file(Path(config.loss.teacher), "--teacher")
    if starts_anew(config):
        if weights.pretrained:
            check_source(weights.pretrained)
        if weights.snapshot:
            check_file(Path(weights.snapshot))


def starts_anew(config: TrainConfig) -> bool:
    """True unless the run resumes, as far as its options and its folder tell."""
    run = config.run
    return run.resume == "never" or (run.resume == "auto" and not (run.folder / "last.pth").exists())


def load_start(config: TrainConfig, model: nn.Module, names: Sequence[str]) -> None:
    """The weights that a run starts from, said in the log; `names` are those of its classes."""
    options, log, pretrained = config.weights, get_logger(), config.weights.pretrained
    of_release = network.is_release_name(config.model.arch) and not (pretrained or options.snapshot)
    if of_release:
        pretrained = find_release_start(model)
    if pretrained:
        report = distributed.node_by_node(lambda: load_pretrained(model, pretrained, options.partial))
        log.info(f"encoder weights: {report}")
    if options.snapshot:
        report, match = start_from(model, options.snapshot, names, options.partial)
        (log.warning if match and loads_little(model, report) else log.info)(f"starting from {report}")
        if match:
            log.info(f"its heads: {match}")
    if of_release and not pretrained:
        log.warning(
            f"--arch {config.model.arch}: starting from random weights, where the release starts from ImageNet's; give"
            f" --pretrained FILE (of the SFNet authors' resnet{model.encoder.depth}-deep-stem), or lay that file into"
            f" ./{RELEASE_FOLDER}/; _r50 and _r101 take --pretrained imagenet, too; --snapshot starts from a whole"
            " model"
        )
    elif not (pretrained or options.snapshot):
        log.info("starting from random weights; see --pretrained and --snapshot")


def warn_of_origins(config: TrainConfig, val: Split) -> None:
    """Say in the log how many of the images that are validated on what the run starts from, or its teacher, knows."""
    for flag, path in (("--snapshot", config.weights.snapshot), ("--teacher", config.loss.teacher)):
        content = read_snapshot_file(path) if path else None
        trained_on = content.get("trained_on") if is_snapshot(content) else None
        if trained_on and (seen := len(seen_images(trained_on, config.data.dataset, config.data.root, val))):
            get_logger().warning(
                f"{flag} {path}: {seen} of the {len(val)} images of {val.split} were trained on there, in"
                f" {trained_on['split']}: scores of this run say little about new images"
            )


def find_release_start(model: nn.Module) -> str | None:
    """The file of ImageNet weights that a release would start from, said in the log; None where none lies there."""
    files = find_deep_stems(model.encoder)
    if not files:
        return None
    more = f" (also there: {', '.join(files[1:])})" if files[1:] else ""
    get_logger().info(f"{files[0]}{more}: used as the release does; --pretrained FILE names another")
    return files[0]
