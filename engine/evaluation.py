"""Score a predictor on a split: each image once, counted in 64-bit integers."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.score_maps import predict_labels
from utils.distributed import sum_over_ranks
from utils.errors import DataError, NumericsError
from utils.logging import Progress
from utils.metrics import confusion_matrix

Predict = Callable[[Tensor], Tensor]


@dataclass
class Evaluation:
    """What `evaluate` counted over all ranks.

    Attributes:
        confusion: Confusion matrix (C,C) int64 on the CPU, rows = truth.
        num_images: Images scored.
        loss: Mean negative log-likelihood of the true class over labelled pixels, natural log; nan without any.
    """

    confusion: Tensor
    num_images: int
    loss: float


def predict_batch(predictor: Predict, batch: dict, device: torch.device, amp: torch.dtype | None = None) -> Tensor:
    """Scores (N,C,H,W) float of a batch's images.

    Raises:
        DataError: The images are too large for the predictor.
        NumericsError: A score is not finite; both messages name the samples.
    """
    images = batch["image"].to(device, non_blocking=True)
    try:
        with torch.autocast(device.type, amp, enabled=amp is not None):
            scores = predictor(images)
    except DataError as error:
        raise DataError(f"{', '.join(batch['name'])}: {error}") from error
    if not torch.isfinite(torch.stack(scores.aminmax())).all():  # without a map of its own
        raise NumericsError(f"scores of {', '.join(batch['name'])} are not finite; take another snapshot or --amp off")
    return scores


def evaluate(
    predictor: Predict,
    loader: Iterable[dict],
    num_classes: int,
    ignore_label: int,
    device: torch.device,
    *,
    amp: torch.dtype | None = None,
    on_batch: Callable[[dict, Tensor], None] | None = None,
    progress: bool = False,
) -> Evaluation:
    """Predict every batch of this rank's share and add the counts up over the ranks.

    Args:
        predictor: Normalised images (N,3,H,W) -> scores (N,C,H,W); probabilities for a meaningful loss.
        loader: Batches with `image`, `label` (N,H,W) int64 and `name`; over the ranks each image occurs once.
        num_classes: C.
        ignore_label: Label that isn't scored.
        device: Where to compute.
        amp: Autocast type, or None.
        on_batch: Called with each batch and its predicted labels (N,H,W) uint8 on the CPU.
        progress: Show a bar.

    Raises:
        NumericsError: A score is not finite.
    """
    matrix = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device)
    totals = torch.zeros(3, dtype=torch.float64)  # negative log-likelihood, labelled pixels, images
    for batch in Progress(loader, "validate", progress):
        scores = predict_batch(predictor, batch, device, amp)
        prediction = predict_labels(scores)
        label = batch["label"].to(device)
        matrix += confusion_matrix(prediction, label, num_classes, ignore_label)
        totals += torch.tensor([*_log_likelihood(scores, label, ignore_label), len(label)], dtype=torch.float64)
        if on_batch is not None:
            on_batch(batch, prediction.cpu())
    matrix, totals = sum_over_ranks(matrix.cpu()), sum_over_ranks(totals)
    loss = float(totals[0] / totals[1]) if totals[1] else float("nan")
    return Evaluation(matrix, int(totals[2]), loss)


def predict_split(
    predictor: Predict,
    loader: Iterable[dict],
    device: torch.device,
    on_batch: Callable[[dict, Tensor], None],
    amp: torch.dtype | None = None,
    progress: bool = False,
) -> None:
    """Predict every batch of this rank's share without scoring it; arguments as in `evaluate`."""
    for batch in Progress(loader, "predict", progress):
        on_batch(batch, predict_labels(predict_batch(predictor, batch, device, amp)).cpu())


def _log_likelihood(scores: Tensor, label: Tensor, ignore_label: int) -> tuple[float, int]:
    valid = label != ignore_label
    picked = scores.gather(1, torch.where(valid, label, 0).unsqueeze(1)).squeeze(1) / scores.sum(dim=1)
    nll = -picked.clamp_min(1e-12).log()[valid]
    return float(nll.sum(dtype=torch.float64)), int(valid.sum())
