"""Score a predictor on a split: each image once, counted in 64-bit integers."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from datasets.base import Split
from datasets.instances import INSTANCES
from engine.evaluation.confidence import ConfidenceMaps
from engine.evaluation.journal import EvaluationJournal
from engine.evaluation.measuring import ImageResults
from engine.evaluation.per_image import ImageResult, PerImageMetric
from engine.evaluation.prediction_files import PredictionWriter
from engine.inference.batch import BatchPredictor
from engine.inference.certainty import Votes
from engine.inference.settings import PROBABLE
from utils.constants import IGNORE_LABEL
from utils.distributed import gather_objects, note
from utils.errors import DataError
from utils.logging import Progress
from utils.metrics.confusion import confusion_matrices


class EvaluationStopped(Exception):
    """An evaluation that was abandoned, on all ranks."""


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` counted, the same on every rank and for any number of ranks.

    Attributes:
        images: The result of each image, in the order of the split.
        num_classes: C.
    """

    images: list[ImageResult]
    num_classes: int

    @property
    def num_images(self) -> int:
        """Images scored."""
        return len(self.images)

    @property
    def confusion(self) -> Tensor:
        """Confusion matrix (C,C) int64 on the CPU, rows = truth; with `--class_map` (C,C+1), see `ImageResult`."""
        columns = self.images[0].columns if self.images else self.num_classes
        matrix = np.zeros(self.num_classes * columns, np.int64)
        for image in self.images:
            matrix[image.indices] += image.counts
        return torch.from_numpy(matrix.reshape(self.num_classes, columns))

    @property
    def loss(self) -> float:
        """Mean negative log-likelihood of the true class over labelled pixels, natural log; nan without any."""
        labelled = sum(image.labelled for image in self.images)
        return math.fsum(image.nll for image in self.images) / labelled if labelled else math.nan

    def total(self, name: str) -> np.ndarray:
        """Sum over the images of what a metric gave as `name`; floats are added in the order of the split."""
        return sum(image.measures[name] for image in self.images)


def evaluate(
    predict: BatchPredictor,
    loader: Iterable[dict],
    num_classes: int,
    *,
    metrics: Sequence[PerImageMetric] = (),
    writer: PredictionWriter | None = None,
    confidence: ConfidenceMaps | None = None,
    journal: EvaluationJournal | None = None,
    finished: Sequence[ImageResult] = (),
    stopped: Callable[[], bool] = lambda: False,
    progress: bool = False,
) -> Evaluation:
    """Predict every batch of this rank's share and gather the results of all ranks.

    Args:
        predict: Batches -> scores.
        loader: Batches with `image`, `label` (N,H,W) int64, `name` and `index`; over the ranks each image occurs once.
            Without `label` nothing is counted.
        num_classes: C.
        metrics: What else is measured on each image.
        writer: Writes the predictions of each batch.
        confidence: Writes how sure they are, and has it measured.
        journal: Keeps the result of each image, once its predictions are written.
        finished: Results of images that are not in the loaders, the same on every rank.
        stopped: True abandons the evaluation, between batches; one rank is enough.
        progress: Show a bar.

    Raises:
        NumericsError: A score is not finite.
        EvaluationStopped: On every rank, because `stopped` was true on one.
    """
    note("evaluation")
    with ImageResults(metrics, journal) as results:
        for batch in Progress(loader, "evaluate", progress):
            if stopped():
                break
            scores, prediction, maps = _predict(predict, batch, confidence)
            counts = _count(scores, prediction, batch, num_classes, predict)
            if writer is not None or metrics or maps or INSTANCES in batch:
                prediction = prediction.cpu()
            if writer is not None:
                writer.write(batch, prediction)
            if confidence is not None:
                confidence.write(batch, maps)
            results.add(batch, counts, prediction, maps)
    parts = gather_objects((results.images, stopped()))
    if any(abandoned for _, abandoned in parts):
        raise EvaluationStopped
    everything = [*finished, *(image for part, _ in parts for image in part)]
    return Evaluation(sorted(everything, key=lambda image: image.index), num_classes)


def check_labelled(split: Split, indices: Sequence[int], flag: str = "--split") -> None:
    """Make sure that there is something to score; looks at labels until one has a pixel that counts.

    `flag` names the split in the message.

    Raises:
        DataError: Every label of `indices` is void.
    """
    if not any((split.load_label(index) != IGNORE_LABEL).any() for index in indices):
        raise DataError(
            f"{flag} {split.split}: every pixel of the {len(indices)} labels of {split.dataset} is void, as in the"
            " test labels that Cityscapes publishes, so there is nothing to score; choose a labelled split"
        )


def _predict(
    predict: BatchPredictor, batch: dict, confidence: ConfidenceMaps | None
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Calibrated scores (N,C,H,W) of a batch, its labels (N,H,W), and where asked for maps of how sure they are."""
    votes = Votes() if confidence is not None and confidence.passes > 1 else None
    scores = predict(batch, votes)
    prediction = predict.labels(scores)
    predict.calibrate_(scores)
    return scores, prediction, {} if confidence is None else confidence.maps(scores, prediction, predict, votes)


def _count(
    scores: Tensor, prediction: Tensor, batch: dict, num_classes: int, predict: BatchPredictor
) -> list[tuple[np.ndarray, float]]:
    """Confusion matrix (C,C) int64 and negative log-likelihood of each image; zeros without labels.

    With a `label_map`, (C,C+1): the last column counts the pixels that are predicted as none of the classes.
    """
    mapped = predict.label_map is not None
    if "label" not in batch:
        return [(np.zeros((num_classes, num_classes + mapped), np.int64), 0.0)] * len(scores)
    label = batch["label"].to(scores.device).long()
    prediction = prediction.clamp(max=num_classes) if mapped else prediction
    matrices = confusion_matrices(prediction, label, num_classes + mapped, IGNORE_LABEL)[:, :num_classes].cpu().numpy()
    likelihoods = [math.nan] * len(scores) if mapped else _log_likelihoods(scores, label, predict.merge)
    return list(zip(matrices, likelihoods, strict=True))


def _log_likelihoods(scores: Tensor, label: Tensor, merge: str) -> list[float]:
    """Sum of the negative log-likelihood over each image's labelled pixels; nan where scores are no probabilities."""
    if merge not in PROBABLE:
        return [math.nan] * len(scores)
    valid = label != IGNORE_LABEL
    picked = scores.gather(1, torch.where(valid, label, 0).unsqueeze(1)).squeeze(1)
    if merge == "logit":
        log = picked - scores.logsumexp(dim=1)
    else:  # a probability may be rounded to 0, which says no more than that it is tiny
        log = (picked / scores.sum(dim=1)).clamp_min(1e-12).log()
    nll = torch.where(valid, -log, 0)
    return torch.stack([image.sum(dtype=torch.float64) for image in nll]).tolist()
