"""An evaluation that is ready to run: predict what isn't finished, write the scores, check the submission."""

from collections.abc import Sequence
from dataclasses import dataclass

from datasets import cityscapes
from datasets.base import Split
from datasets.dataset import EvaluationDataset
from datasets.instances import INSTANCES
from datasets.loader import SafeDataLoader, build_eval_loader
from datasets.sampling.sampler import evaluation_indices
from engine.evaluation.boundary import BoundaryFScore, BoundaryIou
from engine.evaluation.cityscapes_scores import cityscapes_scores
from engine.evaluation.confidence import ConfidenceMaps
from engine.evaluation.confidence_scores import confidence_result
from engine.evaluation.journal import EvaluationJournal
from engine.evaluation.measures import SegmentCounts, TrimapCounts
from engine.evaluation.options import EvalOptions
from engine.evaluation.per_image import ImageResult, PerImageMetric
from engine.evaluation.prediction_files import PredictionWriter
from engine.evaluation.score_files import METRICS, PREDICTIONS, format_metrics, split_metrics, write_per_image
from engine.evaluation.scoring import Evaluation, evaluate
from engine.evaluation.submission import write_submission
from engine.inference.build import LoadedModel
from utils.distributed import Process
from utils.files import write_json
from utils.logging import get_logger


@dataclass(frozen=True)
class EvaluationRun:
    """A model's evaluation on a split, or on a part of it; this process predicts its share.

    Attributes:
        options: What was asked for.
        process: This process.
        model: The model.
        dataset: Samples of the split.
        indices: Those that are evaluated.
        finished: Results that an evaluation that was stopped left.
        journal: Keeps results while it runs.
        writer: Writes predictions; None: they aren't kept.
        confidence: Writes how sure the model is, and has it scored; None: it isn't asked for.
        snapshot_sha256: Of the model's file.
    """

    options: EvalOptions
    process: Process
    model: LoadedModel
    dataset: EvaluationDataset
    indices: Sequence[int]
    finished: Sequence[ImageResult]
    journal: EvaluationJournal
    writer: PredictionWriter | None
    confidence: ConfidenceMaps | None
    snapshot_sha256: str

    @property
    def split(self) -> Split:
        """What is evaluated."""
        return self.dataset.split

    def evaluate(self) -> Evaluation:
        """The results of all images, the same on every rank. Raises as `evaluate`."""
        left = sorted(set(self.indices) - {image.index for image in self.finished})
        return evaluate(
            self.model.predict,
            shared_loader(self.dataset, left, self.options, self.process),
            self.split.classes.num_classes,
            metrics=build_metrics(self.options, self.split.classes.num_classes),
            writer=self.writer,
            confidence=self.confidence,
            journal=self.journal,
            finished=self.finished,
            progress=self.process.is_main,
        )

    def write_scores(self, evaluation: Evaluation) -> dict:
        """Write the files that hold the scores, and log them; returns what is in `metrics.json`."""
        options, names, folder = self.options, self.split.classes.names, self.options.scores_folder
        result = split_metrics(evaluation, names, options.bootstrap)
        if options.boundary:
            f_score = BoundaryFScore(len(names), options.eval_thresholds).average(evaluation, names)
            result["boundary"] = {"f_score": f_score, "iou": BoundaryIou(len(names)).average(evaluation, names)}
        if self.confidence is not None:
            temperature, passes = self.model.predict.temperature, self.confidence.passes
            result |= confidence_result(evaluation, temperature, passes, options.bootstrap)
        if names == cityscapes.CLASSES.names:
            sums = evaluation.total(INSTANCES) if options.instance_scores else None
            result["cityscapes"] = cityscapes_scores(evaluation.confusion.numpy(), sums)
        result |= self.record()
        write_per_image(folder, evaluation, names)
        write_json(folder / METRICS, result)
        for line in format_metrics(result):
            get_logger().info(line)
        get_logger().info(f"{evaluation.num_images} images; scores are in {folder / METRICS}")
        return result

    def record(self) -> dict:
        """What was predicted, by which weights, and how."""
        origin = {"dataset": self.split.dataset, "split": self.split.split, "snapshot_sha256": self.snapshot_sha256}
        if self.model.predict.label_map is not None:
            names = dict(enumerate(self.split.classes.names))
            ids = self.model.predict.label_map.tolist()
            origin["class_map"] = dict(zip(self.model.classes.names, map(names.get, ids), strict=True))
        return origin | {"protocol": self.options.protocol()}

    def finish(self, evaluation: Evaluation) -> None:
        """Leave the predictions' record, write the submission, and forget what was kept to resume from."""
        predictions, record = self.options.folder / "pred", self.options.scores_folder / PREDICTIONS
        if self.writer is not None and self.process.is_main:
            snapshot = {"snapshot": str(self.options.snapshot), "num_images": evaluation.num_images}
            write_json(record, self.record() | snapshot)
            get_logger().info(
                f"{evaluation.num_images} images; predictions are in {predictions}, their record {record}"
            )
        if self.confidence is not None and self.process.is_main:
            get_logger().info(f"{evaluation.num_images} images; confidence maps are in {self.confidence.folder}")
        if self.options.submission and self.process.is_main:  # all processes are done: these are the results of all
            write_submission(self.options.submission, predictions, self.split, progress=True)
        self.journal.remove()


def shared_loader(
    dataset: EvaluationDataset, indices: Sequence[int], options: EvalOptions, process: Process
) -> SafeDataLoader:
    """Loader of this rank's share of the samples `indices`."""
    own = [indices[i] for i in evaluation_indices(len(indices), process.rank, process.world_size)]
    pin = process.device.type == "cuda"
    return build_eval_loader(dataset, own, options.batch_size, options.num_workers, pin)


def build_metrics(options: EvalOptions, num_classes: int) -> list[PerImageMetric]:
    """What is measured besides the confusion matrix."""
    metrics: list[PerImageMetric] = []
    if options.boundary:
        metrics += [BoundaryFScore(num_classes, options.eval_thresholds), BoundaryIou(num_classes)]
    if options.report:
        metrics += [TrimapCounts(num_classes), SegmentCounts(num_classes)]
    return metrics
