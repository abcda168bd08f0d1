"""A run in miniature on real samples, as train.py builds it: two steps, validation, saving, loading again."""

import contextlib
import io
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from config import TrainConfig
from datasets.base import Split
from datasets.checks.findings import Finding
from datasets.checks.sizes import sound_labels
from datasets.part import SubsetSplit
from engine.checkpoint.digests import weights_sha256
from engine.checkpoint.loading import load_model
from engine.checkpoint.options import WeightOptions
from engine.checkpoint.snapshot import load_snapshot
from engine.training.build import build_trainer, check_run
from engine.training.options import RunOptions, ScheduleOptions, ValidationOptions
from engine.training.run_folder import RunFolder
from engine.training.start import Splits, open_indexes
from engine.training.trainer import Trainer
from scripts.doctor_checks.visit import Visit
from utils.cli import as_fault
from utils.devices import choose_device
from utils.distributed import Process
from utils.signals import StopRequest

STEPS, BATCH, CROP, VALIDATED, LONG_SIDE = 2, 2, 64, 2, 192
STRIDE = 32  # of the coarsest maps, which are padded by reflection only where they are wider than the padding


def check_rehearsal(visit: Visit) -> Iterator[Finding]:
    """Trains, validates, saves and loads in a temporary folder."""
    data = visit.config.data
    parts = [
        _healthy_part(visit, name, count)
        for name, count in ((data.train_split, STEPS * BATCH), (data.val_split, VALIDATED))
    ]
    if None in parts:
        yield Finding("note", "not rehearsed: there are no healthy labelled samples to train and validate with")
        return
    try:
        with tempfile.TemporaryDirectory(prefix="fenet_doctor_") as folder:
            yield rehearse(small_config(visit.config, folder), Splits(*parts))
    except Exception as error:  # whatever a run may raise; what is no fault of the data or the machine passes on
        fault = as_fault(error)
        if fault is None:
            raise
        yield Finding(
            "error",
            "a short run fails",
            (str(fault),),
            "mend this first: train.py would fail like this, too",
            fault.exit_code,
        )


def _healthy_part(visit: Visit, name: str, count: int) -> Split | None:
    """`count` samples without a fault, the same ones again where there are fewer."""
    whole, index = visit.splits.get(name), visit.indexes.get(name)
    if index is None:
        return None
    sound = sound_labels(whole, index)
    healthy = [facts.index for facts in visit.facts[name] if not facts.fault and sound[facts.index]]
    return SubsetSplit(whole, (healthy * count)[:count]) if healthy else None


def small_config(config: TrainConfig, folder: str) -> TrainConfig:
    """The same run with small crops and batches, from random weights."""
    crop = config.augment.crop_size
    sides = crop if isinstance(crop, tuple) else (crop, crop)
    least = STRIDE * (config.model.filter_kernel // 2 + 1) if config.model.filter_padding == "reflect" else CROP
    return replace(
        config,
        weights=WeightOptions(),
        data=replace(config.data, num_workers=0, cache="off"),
        augment=replace(config.augment, crop_size=tuple(min(side, max(CROP, least)) for side in sides)),
        optimizer=replace(config.optimizer, warmup_steps=0),
        schedule=ScheduleOptions(bs_mult=BATCH, max_epoch=1),
        validation=ValidationOptions(base_size=max(LONG_SIDE, 3 * least), report=False),
        run=RunOptions(ckpt=folder, exp="run"),
    )


def rehearse(config: TrainConfig, splits: Splits) -> Finding:
    """The run; raises what train.py would."""
    process = Process(0, 1, choose_device(config.compute.device))
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bars
        check_run(config, splits, process)
        with RunFolder(config.run, process) as folder:
            indexes = open_indexes(splits, Path(config.run.ckpt))
            trainer = build_trainer(config, splits, indexes, process, folder, None)
            trainer.fit(StopRequest())
        return _loaded_again(trainer)


def _loaded_again(trainer: Trainer) -> Finding:
    names, folder = trainer.identity.metadata["classes"]["names"], trainer.folder
    saved = load_snapshot(folder.last)["model"]
    if weights_sha256(saved) != weights_sha256(trainer.learner.model.state_dict()):
        return Finding("error", "a short run's snapshot holds other weights than the model", exit_code=4)
    load_model(folder.best, classes=names)
    where = f"{trainer.process.device.type}, small crops"
    return Finding("ok", f"{trainer.state.step} steps, validation, saving and loading again work ({where})")
