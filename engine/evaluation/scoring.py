"""Score a predictor on a split: each image once, counted in 64-bit integers."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from engine.evaluation.per_image import ImageResult, PerImageMetric
from engine.inference.batch import predict_batch
from engine.inference.score_maps import predict_labels
from utils.distributed import gather_objects, note
from utils.errors import DataError
from utils.logging import Progress
from utils.metrics.confusion import confusion_matrices

Predict = Callable[[Tensor], Tensor]


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
        """Confusion matrix (C,C) int64 on the CPU, rows = truth."""
        matrix = np.zeros(self.num_classes**2, np.int64)
        for image in self.images:
            matrix[image.indices] += image.counts
        return torch.from_numpy(matrix.reshape(self.num_classes, self.num_classes))

    @property
    def loss(self) -> float:
        """Mean negative log-likelihood of the true class over labelled pixels, natural log; nan without any."""
        labelled = sum(image.labelled for image in self.images)
        return math.fsum(image.nll for image in self.images) / labelled if labelled else math.nan

    def total(self, name: str) -> np.ndarray:
        """Sum over the images of what a measure gave as `name`; floats are added in the order of the split."""
        return sum(image.measures[name] for image in self.images)


def evaluate(
    predictor: Predict,
    loader: Iterable[dict],
    num_classes: int,
    ignore_label: int,
    device: torch.device,
    *,
    amp: torch.dtype | None = None,
    measures: Sequence[PerImageMetric] = (),
    on_batch: Callable[[dict, Tensor], None] | None = None,
    on_result: Callable[[ImageResult], None] | None = None,
    finished: Sequence[ImageResult] = (),
    stopped: Callable[[], bool] = lambda: False,
    progress: bool = False,
) -> Evaluation:
    """Predict every batch of this rank's share and gather the results of all ranks.

    Args:
        predictor: Normalised images (N,3,H,W) -> scores (N,C,H,W): logits where its `merge` says so, else shares.
        loader: Batches with `image`, `label` (N,H,W) int64, `name` and `index`; over the ranks each image occurs once.
            Without `label` nothing is counted.
        num_classes: C.
        ignore_label: Label that isn't scored.
        device: Where to compute.
        amp: Autocast type, or None.
        measures: What else is measured on each image.
        on_batch: Called with each batch and its predicted labels (N,H,W) uint8 on the CPU.
        on_result: Called with the result of each image, after `on_batch`.
        finished: Results of images that are not in the loaders, the same on every rank.
        stopped: True abandons the evaluation, between batches; one rank is enough.
        progress: Show a bar.

    Raises:
        NumericsError: A score is not finite.
        EvaluationStopped: On every rank, because `stopped` was true on one.
    """
    images, logits = [], getattr(predictor, "merge", None) == "logit"
    note("evaluation")
    for batch in Progress(loader, "evaluate", progress):
        if stopped():
            break
        scores = predict_batch(predictor, batch, device, amp)
        prediction = predict_labels(scores)
        matrices, nll = _count(scores, prediction, batch, num_classes, ignore_label, logits)
        if on_batch is not None or measures:
            prediction = prediction.cpu()
        if on_batch is not None:
            on_batch(batch, prediction)
        for i, (index, name) in enumerate(zip(batch["index"].tolist(), batch["name"], strict=True)):
            measured = _measure(measures, prediction[i], batch["label"][i]) if measures else {}
            images.append(ImageResult.from_matrix(index, name, matrices[i], nll[i], measured))
            if on_result is not None:
                on_result(images[-1])
    parts = gather_objects((images, stopped()))
    if any(abandoned for _, abandoned in parts):
        raise EvaluationStopped
    everything = [*finished, *(image for part, _ in parts for image in part)]
    return Evaluation(sorted(everything, key=lambda image: image.index), num_classes)


def check_labelled(split, indices: Sequence[int], ignore_label: int) -> None:
    """Make sure that there is something to score; looks at labels until one has a pixel that counts.

    Args:
        split: Has `load_label`, `split` and `dataset`.
        indices: The samples that are to be scored.
        ignore_label: Label that isn't scored.

    Raises:
        DataError: Every label is void.
    """
    if not any((split.load_label(index) != ignore_label).any() for index in indices):
        raise DataError(
            f"--split {split.split}: every pixel of the {len(indices)} labels of {split.dataset} is void, as in the"
            " test labels that Cityscapes publishes, so there is nothing to score; choose a labelled split"
        )


def _count(
    scores: Tensor, prediction: Tensor, batch: dict, num_classes: int, ignore_label: int, logits: bool
) -> tuple[np.ndarray, list[float]]:
    """Confusion matrix (N,C,C) and log-likelihood of each image; zeros without labels."""
    if "label" not in batch:
        return np.zeros((len(scores), num_classes, num_classes), np.int64), [0.0] * len(scores)
    label = batch["label"].to(scores.device)
    matrices = confusion_matrices(prediction, label, num_classes, ignore_label)
    return matrices.cpu().numpy(), _log_likelihoods(scores, label, ignore_label, logits)


def _measure(measures: Sequence[PerImageMetric], prediction: Tensor, label: Tensor) -> dict[str, np.ndarray]:
    """What the measures give on one image's maps (H,W) int64."""
    maps = [values.numpy().astype(np.uint8) for values in (prediction, label)]
    return {name: value for measure in measures for name, value in measure(*maps).items()}


def _log_likelihoods(scores: Tensor, label: Tensor, ignore_label: int, logits: bool) -> list[float]:
    """Sum of the negative log-likelihood over each image's labelled pixels, added up image by image."""
    valid = label != ignore_label
    picked = scores.gather(1, torch.where(valid, label, 0).unsqueeze(1)).squeeze(1)
    # a share may be rounded to 0, which says no more than that it is tiny
    log = picked - scores.logsumexp(dim=1) if logits else (picked / scores.sum(dim=1)).clamp_min(1e-12).log()
    nll = torch.where(valid, -log, 0)
    return torch.stack([image.sum(dtype=torch.float64) for image in nll]).tolist()
