"""Results of images, measured beside the prediction of the next ones."""

from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future

import numpy as np
from torch import Tensor

from datasets.instances import INSTANCES
from engine.evaluation.cityscapes_scores import instance_sums
from engine.evaluation.confidence import measure_certainty
from engine.evaluation.journal import EvaluationJournal
from engine.evaluation.per_image import ImageResult, PerImageMetric
from utils.threads import DEPTH, in_background


class ImageResults:
    """Takes predictions and keeps the results, in their order; leaving its context waits for all, also after a fault.

    What is measured takes about as long as a GPU's prediction of an image, so another thread does it.

    Args:
        metrics: What is measured on each image besides its confusion matrix.
        journal: Keeps each result, too.
    """

    def __init__(self, metrics: Sequence[PerImageMetric], journal: EvaluationJournal | None) -> None:
        self.images: list[ImageResult] = []
        self._metrics, self._journal = metrics, journal
        self._pending: deque[Future[list[ImageResult]]] = deque()

    def add(
        self,
        batch: dict,
        counts: Sequence[tuple[np.ndarray, float]],
        prediction: Tensor,
        maps: Mapping[str, Tensor],
    ) -> None:
        """A batch: its confusion matrices and likelihoods, labels (N,H,W), and maps (N,H,W) by name of how sure they
        are; both on the CPU where there are metrics, maps or instances.
        """
        self._pending.append(in_background(_results, batch, counts, prediction, maps, self._metrics))
        self._take(DEPTH if self._metrics or maps or INSTANCES in batch else 0)

    def _take(self, waiting: int) -> None:
        """Keep the results of all batches but the last `waiting`."""
        while len(self._pending) > waiting:
            for image in self._pending.popleft().result():
                self.images.append(image)
                if self._journal is not None:
                    self._journal.add(image)

    def __enter__(self) -> "ImageResults":
        return self

    def __exit__(self, *_: object) -> None:
        self._take(0)


def _results(
    batch: dict,
    counts: Sequence[tuple[np.ndarray, float]],
    prediction: Tensor,
    maps: Mapping[str, Tensor],
    metrics: Sequence[PerImageMetric],
) -> list[ImageResult]:
    results = []
    for i, (index, name) in enumerate(zip(batch["index"].tolist(), batch["name"], strict=True)):
        measured = _measure(metrics, prediction[i], batch["label"][i]) if metrics else {}
        if maps and "label" in batch:
            own = {key: values[i] for key, values in maps.items()}
            measured |= measure_certainty(own, prediction[i], batch["label"][i])
        if INSTANCES in batch:
            measured[INSTANCES] = instance_sums(prediction[i].numpy(), batch[INSTANCES][i].numpy())
        results.append(ImageResult.from_matrix(index, name, *counts[i], measured))
    return results


def _measure(metrics: Sequence[PerImageMetric], prediction: Tensor, label: Tensor) -> dict[str, np.ndarray]:
    """What the metrics give on one image's maps (H,W) of integers."""
    maps = [values.numpy().astype(np.uint8) for values in (prediction, label)]
    return {name: value for metric in metrics for name, value in metric(*maps).items()}
