"""One batch through a predictor, its memory errors said in words."""

from collections.abc import Callable

import torch
from torch import Tensor

from utils.errors import DataError, NumericsError

Predict = Callable[[Tensor], Tensor]


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
    if not torch.stack(scores.aminmax()).isfinite().all():  # one pass; isfinite of all scores takes 40 times as long
        raise NumericsError(f"scores of {', '.join(batch['name'])} are not finite; take another snapshot or --amp off")
    return scores
