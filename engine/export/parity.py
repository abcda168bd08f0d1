"""An exported model beside the one it was made from, on real images, before its file is kept."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

import numpy as np

from utils.errors import CheckpointError
from utils.metrics.confusion import compute_metrics, confusion_matrix

Label = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Parity:
    """How alike the labels are.

    Attributes:
        images: Number of images.
        agreement: Share of all pixels with the same label.
        mean_iou: Of the original model on these images; None without true labels.
        exported_mean_iou: Of the exported one.
    """

    images: int
    agreement: float
    mean_iou: float | None
    exported_mean_iou: float | None

    def __str__(self) -> str:
        text = f"{100 * self.agreement:.3f} % of the pixels of {self.images} images have the same label"
        if self.mean_iou is None:
            return text
        return f"{text}; mean IoU {self.exported_mean_iou:.4f}, of the original {self.mean_iou:.4f}"

    def to_dict(self) -> dict:
        """As plain data."""
        return asdict(self)


def compare(
    original: Label,
    exported: Label,
    samples: Iterable[tuple[np.ndarray, np.ndarray | None]],
    names: list[str],
    ignore_label: int,
) -> Parity:
    """Run both models.

    Args:
        original, exported: RGB (H,W,3) uint8 -> train ids (H,W) uint8.
        samples: Images, and their true train ids (H,W) uint8 or None; at least one.
        names: Class names.
        ignore_label: True label that isn't scored.
    """
    images = pixels = same = 0
    matrices = [0, 0]
    labelled = False
    for image, truth in samples:
        predictions = [model(image) for model in (original, exported)]
        images, pixels = images + 1, pixels + predictions[0].size
        same += int((predictions[0] == predictions[1]).sum())
        if truth is not None:
            labelled = True
            matrices = [
                matrix + confusion_matrix(prediction, truth, len(names), ignore_label)
                for matrix, prediction in zip(matrices, predictions, strict=True)
            ]
    mean_ious = [compute_metrics(matrix, names)["mean_iou"] for matrix in matrices] if labelled else [None, None]
    return Parity(images, same / pixels, *mean_ious)


def check(parity: Parity, min_agreement: float, max_loss: float) -> None:
    """Refuse a file whose labels differ too much.

    Args:
        parity: What `compare` gave.
        min_agreement: Least share of equal labels.
        max_loss: Largest loss of mean IoU, as a fraction; looked at where there are true labels.

    Raises:
        CheckpointError: Below or beyond.
    """
    loss = 0.0 if parity.mean_iou is None else parity.mean_iou - parity.exported_mean_iou
    if parity.agreement >= min_agreement and loss <= max_loss:
        return
    raise CheckpointError(
        f"the exported model is not the same: {parity}; at least {100 * min_agreement:g} % and a loss of at most"
        f" {max_loss:g} mean IoU are asked for, so no file is kept; calibrate on more and on typical images, or relax"
        " --min_agreement and --max_loss"
    )
