"""Builds a training run from its options."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

import datasets
import network
from config import TrainConfig, default_settings
from datasets.base import IGNORE_LABEL, Split
from datasets.cache import open_cache
from datasets.dataset import TrainingDataset
from datasets.epochs import TrainingEpochs, open_centroids
from datasets.index import SplitIndex
from datasets.options import DataOptions
from datasets.part import limit_images
from engine.checkpoint.loading import restore_normalization
from engine.evaluation.seen import describe_training
from engine.inference.precision import check_processes
from engine.training.checks import check_batches
from engine.training.class_counts import weigh_classes
from engine.training.events import check_tensorboard
from engine.training.fingerprint import take_fingerprint
from engine.training.learner import Learner
from engine.training.load import check_start, load_start, warn_of_origins
from engine.training.parallel import choose_norm, import_apex
from engine.training.plan import RunIdentity, TrainSchedule
from engine.training.precision import RunPrecision, choose_for_run
from engine.training.resume import Checkpoint
from engine.training.run_folder import RunFolder
from engine.training.samples import Batches, save_samples
from engine.training.stages import first_stages, freeze_stages, frozen_norms, stages_with_rates
from engine.training.start import Indexes, Splits, compare_ranks, compare_splits, log_start, warn_of_overlap
from engine.training.step import batch_norms
from engine.training.teacher import open_teacher
from engine.training.trainer import Trainer
from engine.training.validator import Validator
from loss import build_loss, class_weights
from network.options import DEFAULT_ARCH
from network.registry import model_options
from optimizer import LrSchedule, ModelAverage, build_optimizer
from transforms import BatchTransform, build_train_transform
from utils import distributed
from utils.distributed import Process
from utils.errors import OptionError
from utils.files import file_sha256
from utils.kernels import check_kernels
from utils.logging import get_logger

TEST_MODE_EPOCHS, TEST_MODE_BATCHES, TEST_MODE_IMAGES = 2, 4, 8


def open_splits(config: TrainConfig) -> Splits:
    """The splits that the options name.

    Raises:
        DataError: They are not there, or not what they should be.
    """
    data = config.data
    train, val = (
        datasets.build_split(data.dataset, data.root, name, data.cv) for name in (data.train_split, data.val_split)
    )
    return Splits(trained_part(train, data), val)


def trained_part(train: Split, data: DataOptions) -> Split:
    """The part of a training split that the options ask for, with coarse images where classes are boosted.

    Raises:
        OptionError: There are fewer images, or no coarse ones.
        DataError: The coarse images aren't there.
    """
    train = limit_images(train, data.limit_images)
    if data.coarse_boost_classes:
        train = datasets.add_coarse(data.dataset, data.root, train, data.coarse_boost_classes)
    return train


def check_run(config: TrainConfig, splits: Splits, process: Process) -> None:
    """Refuse, before anything is written, what only data and processes show not to work.

    Raises:
        OptionError: An option doesn't fit.
        DataError: The processes see other data.
        EnvironmentFault: A package isn't installed.
    """
    check_start(config)
    check_kernels(config.compute.kernels, process.device)
    if config.run.tb_path is not None:
        check_tensorboard("--tb_path")
    for flag, split in (("--train_split", splits.train), ("--val_split", splits.val)):
        if not split.has_labels:
            raise OptionError(f"{flag} {split.split}: this split of {split.dataset} has no labels; name another")
    class_weights(config.loss.class_weights, splits.train.classes.names)
    build_loss(config.loss, splits.train.classes.num_classes, IGNORE_LABEL)
    check_batches(splits.train.epoch_length, config.schedule, norm_of(config, process), process.world_size)
    compare_splits(splits, process)


def build_trainer(
    config: TrainConfig,
    splits: Splits,
    indexes: Indexes,
    process: Process,
    folder: RunFolder,
    checkpoint: Checkpoint | None,
) -> Trainer:
    """A run where it starts or resumes, the same on all processes, and said in the log.

    Args:
        config: All options.
        splits: What is trained and validated on.
        indexes: What its files hold.
        process: This process.
        folder: Of the run; gets `config.json`.
        checkpoint: What the run resumes from.

    Raises:
        FENetError: Something can't work; nothing in the folder is replaced then.
    """
    for note in [*config.notes, *config.idle()]:
        get_logger().info(note)
    torch.manual_seed(config.compute.seed)
    torch.use_deterministic_algorithms(config.compute.deterministic)
    torch.backends.cudnn.benchmark = not config.compute.deterministic  # all crops of a run have one size
    warn_of_overlap(splits)
    precision = precision_of(config, process)
    check_processes(precision.training)
    model = create_model(config, splits.train.classes.num_classes)
    stages_with_rates(model, config.optimizer)  # both refuse, before weights are downloaded
    first_stages(model, config.model.freeze_stages)
    if checkpoint is None:
        load_start(config, model, splits.train.classes.names)
        if process.is_main:
            warn_of_origins(config, splits.val)
    else:
        restore_normalization(model, checkpoint.content.get("config", {}))  # now: the data's scale depends on it
    model = adapt_model(model, config, process)
    network.use_kernels(model, config.compute.kernels)
    data, augment = build_epochs(config, process, splits.train, indexes.train, model.encoder)
    identity, classes = build_identity(config, splits, indexes, process, model), splits.train.classes
    weights = weigh_classes(config.loss, classes, indexes.train)
    trainer = Trainer(
        build_learner(config, process, model, classes.num_classes, augment, weights),
        data,
        build_validator(config, process, splits.val, model.encoder),
        folder,
        build_schedule(config, data.batches, process),
        identity,
    )
    if checkpoint is not None:
        trainer.load(checkpoint, config.run.resume_override)
    compare_ranks(trainer)
    if config.run.dump_augmentation_images and process.is_main:
        batches = Batches.of(config.augment, config.schedule, config.compute.seed)
        save_samples(data, augment, batches, model.encoder, folder.path / "augmented")
    has_best = trainer.state.best_epoch >= 0
    origin, trains = checkpoint and checkpoint.path, not trainer.is_finished
    folder.prepare(origin, identity.options, config.command, trainer.resumed, has_best, trains)
    log_start(splits, trainer, config.command, precision)
    return trainer


def create_model(config: TrainConfig, num_classes: int) -> nn.Module:
    """The model with random weights."""
    return network.build_model(config.model.arch or DEFAULT_ARCH, num_classes, **config.model.build_options())


def adapt_model(model: nn.Module, config: TrainConfig, process: Process) -> nn.Module:
    """The model on its device, norms and frozen parts as the options say."""
    options, compute, norm = config.model, config.compute, norm_of(config, process)
    if options.freeze_trunk:
        model.encoder.requires_grad_(False)
    freeze_stages(model, options.freeze_stages)
    if norm == "frozen":
        for layer in batch_norms(model):
            layer.requires_grad_(False)
    if norm == "sync":
        by_apex = compute.ddp_backend == "apex"
        model = import_apex().convert_syncbn_model(model) if by_apex else network.synchronise_norms(model)
    elif norm == "plain" and options.syncbn and options.norm is None:
        get_logger().info("--syncbn: there is one process, whose norms are plain ones")
    if compute.checkpoint_activations:
        model = network.checkpoint_activations(model)
    layout = torch.channels_last if compute.channels_last else torch.contiguous_format
    return model.to(process.device, memory_format=layout)


def norm_of(config: TrainConfig, process: Process) -> str:
    """What the norms are in this run: `plain`, `sync`, `group` or `frozen`."""
    return choose_norm(config.model.wanted_norm, process)


def precision_of(config: TrainConfig, process: Process) -> RunPrecision:
    """In which precision this run trains and validates, and why."""
    return choose_for_run(config.compute, config.model.name, process.device, config.resumed_amp)


def build_learner(
    config: TrainConfig,
    process: Process,
    model: nn.Module,
    num_classes: int,
    augment: BatchTransform | None,
    weights: Sequence[float] | None = None,
) -> Learner:
    """What teaches the model; `weights` are those of the classes."""
    off = config.loss.rlx_off_epoch
    epochs = config.schedule.max_epoch or 1
    relaxed = config.loss.name == "relaxed_boundary" and off >= 0
    return Learner(
        model,
        build_loss(config.loss, num_classes, IGNORE_LABEL, config.compute.kernels, weights).to(process.device),
        build_optimizer(model, config.optimizer, stages_with_rates(model, config.optimizer)),
        LrSchedule(config.optimizer, off / epochs if relaxed else None),
        average=ModelAverage(model, config.optimizer.ema) if config.optimizer.ema else None,
        augment=augment,
        options=replace(config.compute, amp=precision_of(config, process).training.amp),
        process=process,
        accumulates=config.schedule.accumulate > 1,
        frozen_norms=frozen_norms(model, config.model),
        clip_grad=config.optimizer.clip_grad,
    )


def build_epochs(
    config: TrainConfig, process: Process, split: Split, index: SplitIndex, encoder: nn.Module
) -> tuple[TrainingEpochs, BatchTransform | None]:
    """The training data of all epochs, and what makes images and labels of it on the device, if the loader doesn't."""
    data, run, accumulate = config.data, config.run, config.schedule.accumulate
    transform, augment = build_train_transform(config.augment, process.device, encoder.mean, encoder.std)
    cache = open_cache(split, data.cache, Path(run.ckpt) / "cache")
    teacher = None
    if config.loss.teacher:
        amp = "off" if precision_of(config, process).training.amp == "off" else "auto"
        teacher = open_teacher(config.loss.teacher, split, process, Path(run.ckpt) / "cache", amp)
    epochs = TrainingEpochs(
        TrainingDataset(split, transform, config.compute.seed, cache, teacher),
        process,
        data,
        batch_size=config.schedule.bs_mult,
        centroids=open_centroids(split, index, data, Path(run.ckpt)),
        limit=TEST_MODE_BATCHES * accumulate if run.test_mode else None,
        accumulate=accumulate,
        audit_path=run.folder / "sampling.jsonl",
    )
    return epochs, augment


def build_validator(config: TrainConfig, process: Process, split: Split, encoder: nn.Module) -> Validator:
    """What scores the model."""
    limit = TEST_MODE_IMAGES if config.run.test_mode else None
    amp = precision_of(config, process).validation.amp
    workers = {"num_workers": config.data.num_workers, "worker_timeout": config.data.worker_timeout}
    return Validator(split, encoder, config.validation, process, amp=amp, limit=limit, **workers)


def build_schedule(config: TrainConfig, batches: int, process: Process) -> TrainSchedule:
    """Length and rhythm of a run whose epochs have so many batches on each process."""
    options, validation = config.schedule, config.validation
    if config.run.test_mode:
        epochs = min(options.max_epoch or TEST_MODE_EPOCHS, TEST_MODE_EPOCHS)
        options = replace(options, max_epoch=epochs, max_iters=None)
        validation = replace(validation, eval_epoch=0)
    return TrainSchedule(options, validation, batches // options.accumulate, process.world_size)


def build_identity(
    config: TrainConfig, splits: Splits, indexes: Indexes, process: Process, model: nn.Module
) -> RunIdentity:
    """What the run is, with the model as it was built."""
    classes, norm = splits.train.classes, norm_of(config, process)
    built = {"arch": model.config["arch"], "backbone": model.config["options"].get("backbone")}
    built["aux"] = len(model.aux_heads) > 0
    amp = precision_of(config, process).training.amp
    own = {name: item.default for name, item in model_options(built["arch"]).items()} | model.config["options"]
    options = {name: own.get(name) if value is None else value for name, value in config.to_dict().items()} | built
    options |= {"data_root": str(config.data.root), "device": str(process.device), "norm": norm, "amp": amp}
    options |= {"tb_path": str(config.run.tensorboard_folder)}
    launchers = sorted({one for one in distributed.gather_objects(distributed.launcher()) if one is not None})
    options |= {"processes": process.world_size, "job": distributed.job_id(), "launchers": launchers}
    options |= {"arguments": list(config.arguments)}
    settings = config.reproducibility_key(process.world_size) | built
    settings |= {"classes": list(classes.names), "norms": norm, "amp": repr(amp)}
    if config.loss.teacher:  # wherever it lies
        settings |= {"teacher": file_sha256(config.loss.teacher)}
    trained_on = describe_training(config.data, splits.train, config.validation.base_size)
    metadata = {"config": model.config, "classes": classes.to_dict(config.data.dataset), "trained_on": trained_on}
    data = {part: take_fingerprint(getattr(splits, part), getattr(indexes, part)) for part in Splits._fields}
    return RunIdentity(metadata, settings, default_settings(), data, options)
