"""Validation: scores of the present weights, and for the best ones pictures and a report."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from datasets.dataset import EvaluationDataset
from datasets.loader import build_eval_loader
from datasets.sampling.sampler import evaluation_indices
from engine.checkpoint.digests import weights_sha256
from engine.evaluation.measures import TrimapCounts
from engine.evaluation.score_files import split_metrics
from engine.evaluation.scoring import Evaluation, evaluate
from engine.inference.batch import BatchPredictor
from engine.inference.precision import AUTOCAST
from engine.inference.predictor import build_predictor
from engine.report import ImageSampler, Report, write_report
from engine.training.options import ValidationOptions
from network.fusing import fuse_for_inference
from transforms import build_eval_transform
from utils.distributed import Process
from utils.drawing import side_by_side
from utils.metrics.confusion import compute_metrics
from utils.signals import StopRequest

PICTURES = 4  # images drawn of the best weights
REPORT_IMAGES = 3  # of the worst in the report, and as many of the best
RESAMPLES = 2000  # of the images, for the report's intervals


@dataclass(frozen=True)
class Validation:
    """What a validation found, and the fused model that it was made with."""

    model: nn.Module
    predict: BatchPredictor
    evaluation: Evaluation
    scores: dict


class Validator:
    """Scores a model on the validation split.

    Args:
        split: With labels.
        encoder: Its `mean` and `std` normalise the images.
        options: Size of the images, batch.
        process: This process, which predicts its share.
        amp: Precision: `off`, `bf16` or `fp16`.
        num_workers: Loader processes.
        worker_timeout: As `SafeDataLoader` has it.
        limit: Images at most; None: all.
    """

    def __init__(
        self,
        split,
        encoder: nn.Module,
        options: ValidationOptions,
        process: Process,
        *,
        amp: str = "off",
        num_workers: int = 0,
        worker_timeout: float | None = None,
        limit: int | None = None,
    ) -> None:
        self.dataset = EvaluationDataset(split, build_eval_transform(encoder.mean, encoder.std))
        self.split, self.options, self.process, self.amp = split, options, process, amp
        self.num_workers, self.worker_timeout = num_workers, worker_timeout
        self.count = min(len(split), limit or len(split))

    def validate(self, model: nn.Module, stop: StopRequest) -> Validation:
        """Evaluate a model in evaluation mode; all ranks get the same.

        Raises:
            EvaluationStopped: A stop was asked for meanwhile.
            NumericsError: A score isn't finite.
        """
        options, classes, device = self.options, self.split.classes, self.process.device
        whole = build_predictor(fuse_for_inference(model), base_size=options.base_size, max_pixels=options.max_pixels)
        predict = BatchPredictor(whole, device, AUTOCAST[self.amp])
        evaluation = evaluate(
            predict,
            build_eval_loader(
                self.dataset,
                evaluation_indices(self.count, self.process.rank, self.process.world_size),
                options.bs_mult_val,
                self.num_workers,
                device.type == "cuda",
                self.worker_timeout,
            ),
            classes.num_classes,
            metrics=[TrimapCounts(classes.num_classes)] if options.report else (),
            stopped=lambda: stop.asked,
            progress=self.process.is_main,
        )
        return Validation(model, predict, evaluation, compute_metrics(evaluation.confusion, classes.names))

    def pictures(self, validation: Validation) -> Iterator[tuple[str, np.ndarray]]:
        """Name and picture (H,W,3) uint8 of a few images: input, labels, prediction."""
        sample = ImageSampler(self.dataset, validation.predict)
        for index in np.unique(np.linspace(0, self.count - 1, PICTURES).astype(int)).tolist():
            image, *maps = sample(index)
            yield self.split.names[index], side_by_side([image, *map(self.split.classes.colorize, maps)])

    def write_report(self, path: Path, validation: Validation, epoch: int, metrics: Path, options: dict) -> None:
        """Write `report.html`; `options`: all of the run, for its table."""
        split, arch = self.split, validation.model.config["arch"]
        result = split_metrics(validation.evaluation, split.classes.names, RESAMPLES)
        result["protocol"] = {"inference_mode": "whole", "base_size": self.options.base_size, "amp": self.amp}
        digest = weights_sha256(validation.model.state_dict())
        facts = {"epoch": epoch, "weights sha256": digest, "data set": split.dataset, "split": split.split}
        facts |= {"images scored": result["num_images"], "split sha256": split.fingerprint()}
        report = Report(
            title=f"{arch} on {split.dataset} {split.split}, epoch {epoch} of {options['exp']}",
            evaluation=validation.evaluation,
            result=result,
            palette=split.classes.palette,
            sampler=ImageSampler(self.dataset, validation.predict),
            facts={"Weights and data": facts, "Options": options},
            most_images=REPORT_IMAGES,
            metrics=metrics,
        )
        write_report(path, report)
