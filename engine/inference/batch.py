"""Batches through a predictor, its memory errors said in words."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.inference.certainty import Votes, temper_
from engine.inference.score_maps import predict_labels
from utils.devices import without_benchmark
from utils.errors import DataError, NumericsError

LABELS = "labels"  # scores that are 1 at the label and else 0


@dataclass(frozen=True)
class BatchPredictor:
    """Batches of a loader -> scores (N,C,H,W) float.

    Attributes:
        predictor: Normalised images (N,3,H,W) -> scores (N,C,H,W).
        device: Where to compute.
        amp: Autocast type, or None.
        merge: What the scores are: as the predictor's settings say, or `labels`.
        temperature: By which `calibrate_` makes their probabilities less sure, or surer where it is below 1.
        label_map: Labels that stand for the model's, uint8 (C,): those of data with other classes; None: its own.
    """

    predictor: Callable[[Tensor], Tensor]
    device: torch.device
    amp: torch.dtype | None = None
    merge: str = "prob"
    temperature: float = 1.0
    label_map: Tensor | None = None

    def __post_init__(self) -> None:
        assert getattr(self.predictor, "merge", self.merge) == self.merge

    @without_benchmark()
    def __call__(self, batch: dict, votes: Votes | None = None) -> Tensor:
        """Scores of the batch's `image` (N,3,H,W), which has `name`s; they are not calibrated yet.

        `votes` collects the labels of each pass, where the predictor is a `Predictor`.

        Raises:
            DataError: The images are too large for the predictor.
            NumericsError: A score is not finite; both messages name the samples.
        """
        images, names = batch["image"].to(self.device, non_blocking=True), ", ".join(batch["name"])
        try:
            with torch.autocast(self.device.type, self.amp, enabled=self.amp is not None):
                scores = self.predictor(images) if votes is None else self.predictor(images, votes)
        except DataError as error:
            raise DataError(f"{names}: {error}") from error
        if not torch.stack(scores.aminmax()).isfinite().all():  # one pass; isfinite of all takes 40 times as long
            raise NumericsError(f"scores of {names} are not finite; take another snapshot or --amp off")
        return scores

    def labels(self, scores: Tensor) -> Tensor:
        """Labels (N,H,W) uint8 of scores (N,C,H,W), those of `label_map` where there is one."""
        labels = predict_labels(scores)
        return labels if self.label_map is None else self.label_map.to(labels.device)[labels.int()]

    def calibrate_(self, scores: Tensor) -> Tensor:
        """`temper_` with this model's temperature, in place: after the labels are taken."""
        return temper_(scores, self.merge, self.temperature)
