"""Train a segmentation model: alone, or on several processes under torchrun. `python train.py --help`."""

import sys

if __name__ == "__main__":  # before the slow imports
    from utils.machine import limit_spinning
    from utils.signals import prepare_process

    limit_spinning()
    prepare_process()

import os
from collections.abc import Sequence
from pathlib import Path

from config import parse_train
from engine.training.boundary_scores import record_boundary_scores
from engine.training.build import build_trainer, check_run, open_splits
from engine.training.checks import check_data, data_plan, log_findings
from engine.training.load import like_checkpoint, like_start
from engine.training.run_folder import RunFolder
from engine.training.start import open_indexes
from utils import distributed
from utils.cli import run_main
from utils.logging import setup_logging
from utils.signals import StopRequest


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(train, argv)


def train(argv: Sequence[str]) -> None:
    """Parse, check, build, train."""
    config = parse_train(argv)
    if config.compute.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    with StopRequest() as stop, distributed.job(config.compute.device, config.run.timeout, stop) as process:
        setup_logging(process.is_main)
        if config.run.evaluateF:
            record_boundary_scores(config.evaluation(), config.run.folder, process)
            return
        config = like_start(config.for_processes(process.world_size))
        splits = open_splits(config)
        check_run(config, splits, process)
        indexes = open_indexes(splits, Path(config.run.ckpt))
        images = splits.train.epoch_length // process.world_size
        plan = data_plan(config.data, config.augment, config.schedule, config.validation, images)
        findings = check_data(splits, indexes, plan)
        with RunFolder(config.run, process) as folder:  # nothing is written before
            setup_logging(process.is_main, folder.log)
            checkpoint = folder.find_checkpoint(config.weights.snapshot if config.weights.restore_optimizer else None)
            config = like_checkpoint(config, checkpoint, process.device)
            trainer = build_trainer(config, splits, indexes, process, folder, checkpoint)
            if process.is_main:
                log_findings(findings)
            trainer.fit(stop)


if __name__ == "__main__":
    sys.exit(main())
