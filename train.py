"""Train a segmentation model: alone, or on several processes under torchrun. `python train.py --help`."""

import sys

if __name__ == "__main__":  # before the slow imports
    from utils.signals import prepare_process

    prepare_process()

import json
import os
import platform
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import datasets
import network
from config import TrainConfig, parse_train
from datasets.base import IGNORE_LABEL, Split
from datasets.cache import open_cache
from datasets.dataset import EvaluationDataset, TrainingDataset
from datasets.epochs import TrainingEpochs
from datasets.loader import build_eval_loader, collate
from datasets.sampling.sampler import evaluation_indices
from engine.checkpoint import load_pretrained
from engine.checkpoint.digests import weights_sha256
from engine.checkpoint.loading import load_model, load_weights, restore_normalization
from engine.checkpoint.snapshot import load_snapshot, newest_snapshot, prepare_run_folder
from engine.evaluation.boundary import evaluate_boundaries
from engine.evaluation.score_files import summarise
from engine.evaluation.scoring import Evaluation, evaluate
from engine.inference.precision import Precision
from engine.inference.predictor import build_predictor
from engine.report import resampler, trimap_measure, write_report
from engine.training.compile import CompiledStep
from engine.training.lock import RunLock
from engine.training.parallel import choose_norm, import_apex, wrap_parallel
from engine.training.plan import TrainSchedule
from engine.training.step import batch_norms
from engine.training.trainer import Trainer
from loss import build_loss
from network.fusing import fuse_for_inference
from network.options import DEFAULT_ARCH
from optimizer import LrSchedule, ModelAverage, build_optimizer, set_lr
from transforms import DeviceAugment, build_eval_transform, build_train_transform, denormalize
from utils import distributed
from utils.cli import run_main
from utils.distributed import Process
from utils.drawing import save_png, side_by_side
from utils.errors import CheckpointError, DataError, EnvironmentFault, OptionError
from utils.files import make_folder, write_json
from utils.kernels import check_kernels
from utils.logging import get_logger, setup_logging
from utils.signals import StopRequest

PICTURES = 4  # validation images drawn at each best epoch
REPORT_IMAGES = 3  # of the worst in the report of the best epoch, and as many of the best
RESAMPLES = 2000  # of the images, for the report's intervals
TEST_MODE_BATCHES, TEST_MODE_IMAGES = 4, 8


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(train, argv)


def train(argv: Sequence[str]) -> None:
    """Parse, build, run."""
    config = parse_train(argv)
    if config.compute.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    with StopRequest() as stop, distributed.job(config.compute.device, config.run.timeout, stop) as process:
        make_folder(config.run.folder, "--ckpt or --exp")
        setup_logging(process.is_main, config.run.folder / "log.txt")
        if config.run.evaluateF:
            score_boundaries(config, process)
            return
        with RunLock(config.run.folder) as lock:
            distributed.on_main_rank(lock.acquire)
            prepare(config, process).run(stop)


def prepare(config: TrainConfig, process: Process) -> Trainer:
    """The trainer, where the run is to start or go on, with `config.json` written."""
    config = config.for_processes(process.world_size)
    resumed = find_snapshot(config)
    step = None if resumed is None else resumed[0].get("training", {}).get("state", {}).get("step")
    place = "newest snapshot (--ckpt has to be one folder that all nodes share)"
    distributed.check_equal({"its step": step}, place, CheckpointError)
    for note in config.notes:
        get_logger().info(note)
    trainer = build_trainer(config, process, fresh=resumed is None, resumed=resumed[0] if resumed else None)
    if resumed is not None:
        trainer.load(*resumed, config.run.resume_override)
    compare_ranks(config, trainer)

    def take_over() -> None:
        prepare_run_folder(config.run.folder, resumed[1] if resumed else None)
        write_json(config.run.folder / "config.json", resolved_options(config, trainer))

    distributed.on_main_rank(take_over)
    return trainer


def compare_ranks(config: TrainConfig, trainer: Trainer) -> None:
    """Refuse to start where the processes don't agree on options, data, versions or weights."""
    if trainer.process.world_size == 1:
        return
    own = ("data_root", "num_workers", "ckpt", "tb_path", "device", "debug", "snapshot", "pretrained", "resume")
    options = {name: repr(value) for name, value in config.to_dict().items() if name not in own}
    splits = {split: build_split(config, split) for split in (config.data.train_split, config.data.val_split)}
    versions = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
    weights = {"step": trainer.state.step, "sha256": weights_sha256(trainer.model.state_dict())}
    distributed.check_equal(options, "options", OptionError)
    distributed.check_equal({name: split.fingerprint() for name, split in splits.items()}, "data", DataError)
    distributed.check_equal(versions, "versions", EnvironmentFault)
    distributed.check_equal(weights, "starting point", CheckpointError)


def resolved_options(config: TrainConfig, trainer: Trainer) -> dict:
    """Every option, with what was left open filled in."""
    model, data = trainer.model, config.data
    return config.to_dict() | {
        "arch": model.config["arch"],
        "backbone": model.config["options"].get("backbone"),
        "aux": len(model.aux_heads) > 0,
        "data_root": str(data.root),
        "device": str(trainer.process.device),
        "tb_path": str(config.run.tensorboard_folder),
        "processes": trainer.process.world_size,
        "job": distributed.job_id(),
        "norm": norm_of(config, trainer.process),
    }


def find_snapshot(config: TrainConfig) -> tuple[dict, Path] | None:
    """The snapshot that --resume asks for, said in the log; None for a fresh start."""
    log, found = get_logger(), None
    if config.run.resume == "auto" or is_own_restart(config):
        found = newest_snapshot(config.run.folder, log.warning)
    elif config.run.resume != "never":
        found = Path(config.run.resume), load_snapshot(config.run.resume)
    if found is None and config.weights.restore_optimizer:
        found = Path(config.weights.snapshot), load_snapshot(config.weights.snapshot)
    if found is None:
        return None
    path, snapshot = found
    log.info(f"resuming at step {snapshot.get('training', {}).get('state', {}).get('step')} from {path}")
    return snapshot, path


def is_own_restart(config: TrainConfig) -> bool:
    """True if this job is started again after it began this run: then it goes on, whatever --resume says."""
    try:
        began = json.loads((config.run.folder / "config.json").read_text())
    except (OSError, ValueError):
        return False
    return distributed.is_restart() and began.get("job") == distributed.job_id()


def build_trainer(
    config: TrainConfig,
    process: Process,
    fresh: bool,
    splits: tuple[Split, Split] | None = None,
    resumed: dict | None = None,
) -> Trainer:
    """Everything a run needs, handed to the `Trainer`.

    Args:
        config: The options.
        process: This process.
        fresh: Load the weights that a run starts from.
        splits: To train and to validate on; None: those of the options.
        resumed: The snapshot that the run goes on from; here only what it says of its encoder is read.
    """
    check_kernels(config.compute.kernels, process.device)
    torch.manual_seed(config.compute.seed)
    torch.use_deterministic_algorithms(config.compute.deterministic)
    train_split, val_split = splits or (build_train_split(config), build_split(config, config.data.val_split))
    warn_of_overlap(train_split, val_split)
    classes = train_split.classes
    model = build_model(config, classes.num_classes, process, fresh, resumed)
    network.use_kernels(model, config.compute.kernels)
    optimizer = build_optimizer(model, config.optimizer)
    epochs, augment = build_epochs(config, process, train_split, model.encoder)
    precision = Precision.build(config.compute.amp, process.device)
    validate, draw, report = build_validation(config, process, val_split, model.encoder, precision.dtype)
    criterion = build_loss(config.loss, classes.num_classes, IGNORE_LABEL, config.compute.kernels).to(process.device)
    plan = build_plan(config, epochs.batches // config.schedule.accumulate)
    compiled = CompiledStep(model, criterion, precision.dtype, process.device, plan.memory_format, augment)
    return Trainer(
        model=model,
        parallel=wrap_parallel(
            model,
            process,
            config.compute.ddp_backend,
            static_graph=config.schedule.accumulate == 1,
            compress=config.compute.grad_compression == "bf16",
        ),
        criterion=criterion,
        optimizer=optimizer,
        set_rate=build_rate(config, optimizer),
        average=ModelAverage(model, config.optimizer.ema) if config.optimizer.ema else None,
        precision=precision,
        process=process,
        plan=plan,
        header={"config": model.config, "classes": classes.to_dict(config.data.dataset)},
        folder=config.run.folder,
        tensorboard=config.run.tensorboard_folder,
        make_loader=epochs,
        augment=augment,
        compiled=compiled if config.compute.compile else None,
        validate=validate,
        draw=draw,
        report=report if config.validation.report else None,
        settings=config.reproducibility_key(process.world_size)
        | {
            "arch": model.config["arch"],
            "backbone": model.config["options"].get("backbone"),
            "aux": len(model.aux_heads) > 0,
            "classes": list(classes.names),
            "norms": norm_of(config, process),
        },
    )


def build_split(config: TrainConfig, split: str) -> Split:
    """One split of the data set."""
    data = config.data
    return datasets.build_split(data.dataset, data.root, split, data.cv)


def warn_of_overlap(train_split: Split, val_split: Split) -> None:
    """Say in the log if images that are validated on are trained on, too."""
    trained = {files for index in range(len(train_split)) if (files := train_split.files(index))}
    shared = sum(val_split.files(index) in trained for index in range(len(val_split)))
    if shared:
        get_logger().warning(
            f"{shared} of the {len(val_split)} images of --val_split {val_split.split} are trained on in --train_split"
            f" {train_split.split}: the validation score says little about new images"
        )


def build_train_split(config: TrainConfig) -> Split:
    """The split that is trained on, with coarse images where classes are boosted."""
    data, split = config.data, build_split(config, config.data.train_split)
    if not data.coarse_boost_classes:
        return split
    root = data.root
    return datasets.add_coarse(data.dataset, root, split, data.coarse_boost_classes)


def load_start(config: TrainConfig, model: nn.Module) -> None:
    """The weights that a run starts from, said in the log."""
    options, log = config.weights, get_logger()
    if options.pretrained:
        report = distributed.node_by_node(lambda: load_pretrained(model, options.pretrained, options.partial))
        log.info(f"encoder weights: {report}")
    if options.snapshot:
        log.info(f"starting from {load_weights(model, options.snapshot, options.partial)}")
    if not (options.pretrained or options.snapshot):
        log.info("starting from random weights; see --pretrained and --snapshot")


def build_model(
    config: TrainConfig, num_classes: int, process: Process, fresh: bool, resumed: dict | None = None
) -> nn.Module:
    """The model on its device, norms and frozen parts as the options say."""
    options = config.model
    model = network.build_model(options.arch or DEFAULT_ARCH, num_classes, **options.build_options())
    if fresh:
        load_start(config, model)
    if resumed is not None:
        restore_normalization(model, resumed.get("config", {}))  # now, because the data's scale depends on it
    if options.freeze_trunk:
        model.encoder.requires_grad_(False)
    norm = norm_of(config, process)
    if norm == "frozen":
        for layer in batch_norms(model):
            layer.requires_grad_(False)
    if norm == "sync":
        by_apex = config.compute.ddp_backend == "apex"
        model = import_apex().convert_syncbn_model(model) if by_apex else network.convert_sync_batchnorm(model)
    elif options.syncbn and options.norm is None:
        get_logger().info(
            "--syncbn: synchronised norms need CUDA and more than one process; norms are plain in this run"
        )
    if norm == "plain" and config.schedule.bs_mult == 1:
        raise OptionError(
            "--bs_mult 1: with plain norms a batch of 1 leaves one value per channel in the pyramid pooling;"
            " use --bs_mult 2 or more, --norm group, --fix_bn, or several CUDA processes (--syncbn)"
        )
    if config.compute.checkpoint_activations:
        model = network.checkpoint_activations(model)
    layout = torch.channels_last if config.compute.channels_last else torch.contiguous_format
    return model.to(process.device, memory_format=layout)


def norm_of(config: TrainConfig, process: Process) -> str:
    """What the norms are in this run: `plain`, `sync`, `group` or `frozen`."""
    return choose_norm("frozen" if config.model.freeze_norms else config.model.norm, process)


def build_rate(config: TrainConfig, optimizer: torch.optim.Optimizer) -> Callable[[int, int], float]:
    """(step, total steps) -> learning rate, which the optimizer then has."""
    off = config.loss.rlx_off_epoch
    relaxed = config.loss.name == "relaxed_boundary"
    schedule = LrSchedule(config.optimizer, off / config.schedule.max_epoch if off >= 0 and relaxed else None)

    def set_rate(step: int, total_steps: int) -> float:
        set_lr(optimizer, schedule(step, total_steps))
        return optimizer.param_groups[0]["lr"]

    return set_rate


def build_plan(config: TrainConfig, steps_per_epoch: int) -> TrainSchedule:
    """Length and rhythm of the run."""
    return TrainSchedule(
        max_epoch=min(config.schedule.max_epoch, 2) if config.run.test_mode else config.schedule.max_epoch,
        steps_per_epoch=steps_per_epoch,
        seed=config.compute.seed,
        accumulate=config.schedule.accumulate,
        max_steps=config.schedule.max_steps,
        save_every=config.schedule.save_every,
        log_every=config.schedule.log_every,
        eval_epoch=0 if config.run.test_mode else config.validation.eval_epoch,
        val_every=config.validation.val_every,
        max_skipped_steps=config.schedule.max_skipped_steps,
        freeze_norms=config.model.freeze_norms,
        memory_format=torch.channels_last if config.compute.channels_last else torch.contiguous_format,
        batch_images=config.schedule.bs_mult,
    )


def build_epochs(
    config: TrainConfig, process: Process, split: Split, encoder: nn.Module
) -> tuple[TrainingEpochs, DeviceAugment | None]:
    """The training data of all epochs, and what makes images and labels of it on the device, if the loader doesn't."""
    data, options = config.data, config.augment
    transform, augment = build_train_transform(options, process.device, encoder.mean, encoder.std)
    cache = open_cache(split, data.cache, Path(config.run.ckpt) / "cache")
    epochs = TrainingEpochs(
        TrainingDataset(split, transform, config.compute.seed, cache),
        process,
        batch_size=config.schedule.bs_mult,
        class_uniform_pct=data.class_uniform_pct,
        class_uniform_tile=data.class_uniform_tile,
        max_cu_epoch=data.max_cu_epoch,
        cache_folder=Path(config.run.ckpt),
        num_workers=data.num_workers,
        worker_timeout=data.worker_timeout,
        limit=TEST_MODE_BATCHES * config.schedule.accumulate if config.run.test_mode else None,
        audit_path=config.run.folder / "sampling.jsonl",
    )
    accumulate = config.schedule.accumulate
    if epochs.batches < accumulate:
        raise OptionError(
            f"--accumulate {accumulate}: an epoch has {epochs.batches} batches; lower it, --global_batch or --bs_mult"
        )
    if config.run.dump_augmentation_images and process.is_main:
        dump_augmented(epochs, augment, encoder, config.run.folder / "augmented")
    return epochs, augment


def dump_augmented(
    epochs: TrainingEpochs, augment: DeviceAugment | None, encoder: nn.Module, folder: Path, count: int = 32
) -> None:
    """Write the first augmented samples of the run, image beside label."""
    dataset = epochs.dataset
    for draw in epochs.plan(0)[:count]:
        batch = collate([dataset[draw]])
        batch = batch if augment is None else augment(batch)
        colors = dataset.split.classes.colorize(batch["label"][0].cpu().numpy().astype(np.uint8))
        image = denormalize(batch["image"][0], encoder.mean, encoder.std)
        save_png(folder / f"{draw.index:04d}.png", side_by_side([image, colors]))
    get_logger().info(f"augmented samples are in {folder}")


def build_validation(
    config: TrainConfig, process: Process, split: Split, encoder: nn.Module, amp: torch.dtype | None
) -> tuple[Callable, Callable[[nn.Module], dict[str, np.ndarray]], Callable]:
    """Functions of a model: its evaluation over all ranks, pictures of a few images by name, the report of an epoch."""
    data, options = config.data, config.validation
    if not split.has_labels:
        raise OptionError(f"--val_split {split.split}: this split of {split.dataset} has no labels to validate with")
    dataset = EvaluationDataset(split, build_eval_transform(encoder.mean, encoder.std))
    count = min(len(split), TEST_MODE_IMAGES) if config.run.test_mode else len(split)

    def predictor(model: nn.Module) -> Callable[[Tensor], Tensor]:
        return build_predictor(fuse_for_inference(model), base_size=options.base_size, max_pixels=options.max_pixels)

    def validate(model: nn.Module, stopped: Callable[[], bool]) -> Evaluation:
        indices = evaluation_indices(count, process.rank, process.world_size)
        loader = build_eval_loader(
            dataset, indices, options.bs_mult_val, data.num_workers, process.device.type == "cuda"
        )
        return evaluate(
            predictor(model),
            loader,
            split.classes.num_classes,
            IGNORE_LABEL,
            process.device,
            amp=amp,
            measures=[trimap_measure(split.classes.num_classes, IGNORE_LABEL)] if config.validation.report else (),
            stopped=stopped,
            progress=process.is_main,
        )

    def draw(model: nn.Module) -> dict[str, np.ndarray]:
        sample = resampler(dataset, predictor(model), process.device, amp)
        pictures = {}
        for index in np.unique(np.linspace(0, count - 1, PICTURES).astype(int)).tolist():
            image, *maps = sample(index)
            pictures[split.names[index]] = side_by_side([image, *map(split.classes.colorize, maps)])
        return pictures

    def report(model: nn.Module, evaluation: Evaluation, epoch: int) -> None:
        result = summarise(evaluation, split.classes.names, RESAMPLES)
        result["protocol"] = {
            "inference_mode": "whole",
            "base_size": options.base_size,
            "amp": config.compute.amp,
        }
        facts = {"epoch": epoch, "weights sha256": weights_sha256(model.state_dict()), "data set": split.dataset}
        facts |= {"split": split.split, "images scored": result["num_images"], "split sha256": split.fingerprint()}
        write_report(
            config.run.folder / "report.html",
            f"{model.config['arch']} on {split.dataset} {split.split}, epoch {epoch} of {config.run.exp}",
            result,
            evaluation,
            split.classes.palette,
            IGNORE_LABEL,
            resampler(dataset, predictor(model), process.device, amp),
            {"Weights and data": facts, "Options": config.to_dict()},
            REPORT_IMAGES,
            metrics=config.run.folder / "metrics.jsonl",
        )

    return validate, draw, report


def score_boundaries(config: TrainConfig, process: Process) -> None:
    """--evaluateF: boundary F-scores of --snapshot on the validation split, in `boundary_f_scores.json`."""
    if config.weights.snapshot is None:
        raise OptionError("--evaluateF: name the weights to score with --snapshot")
    split, options = build_split(config, config.data.val_split), config.validation
    if not split.has_labels:
        raise OptionError(f"--val_split {split.split}: this split of {split.dataset} has no labels to score with")
    path, names = config.weights.snapshot, split.classes.names
    model, _, report = load_model(path, network.build_model, config.model.arch, names, config.weights.partial)
    get_logger().info(str(report))
    dataset = EvaluationDataset(split, build_eval_transform(model.encoder.mean, model.encoder.std))
    indices = evaluation_indices(len(split), process.rank, process.world_size)
    result = evaluate_boundaries(
        build_predictor(
            fuse_for_inference(model).to(process.device),
            base_size=options.base_size,
            max_pixels=options.max_pixels,
        ),
        build_eval_loader(dataset, indices, 1, config.data.num_workers),
        split.classes.names,
        IGNORE_LABEL,
        config.run.eval_thresholds,
        process.device,
        Precision.build(config.compute.amp, process.device).dtype,
        progress=process.is_main,
    )
    for threshold, row in result.items():
        get_logger().info(f"boundary F-score at {threshold}: {row['mean_f']}")
    if process.is_main:
        write_json(config.run.folder / "boundary_f_scores.json", result)


if __name__ == "__main__":
    sys.exit(main())
