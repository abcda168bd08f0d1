"""The confusion matrix and the scores that come from it; boundary metrics: `boundary.py`."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from utils.errors import DataError

_HISTOGRAM_PIXELS = 2**24  # OpenCV counts in float32, which is exact up to here


class LabelValueError(DataError, ValueError):
    """A label or a prediction that is no class."""


def confusion_matrix(
    pred: np.ndarray | Tensor, label: np.ndarray | Tensor, num_classes: int, ignore_label: int
) -> np.ndarray | Tensor:
    """Count the pixels of each pair of true (row) and predicted (column) class.

    Args:
        pred: integers of any shape, 0..num_classes-1 wherever the label counts.
        label: integers of the same shape, 0..num_classes-1 or `ignore_label`; pixels with the latter are left out.

    Returns:
        (num_classes, num_classes) int64, on the device of the tensors given, or an array where both are arrays.

    Raises:
        LabelValueError: a value that is no class, named.
        ValueError: shapes that differ, or values that are not integers.
    """
    tensors = [value for value in (label, pred) if isinstance(value, Tensor)]
    device = tensors[0].device if tensors else None
    if device is not None and device.type != "cpu":
        label, pred = (torch.as_tensor(value, device=device) for value in (label, pred))
        _check_maps(pred, label, pred.is_floating_point() or label.is_floating_point())
        return _count_on_device(pred[None], label[None], num_classes, ignore_label)[0]
    label, pred = np.asarray(label), np.asarray(pred)
    _check_maps(pred, label, any(value.dtype.kind not in "iub" for value in (pred, label)))
    if num_classes <= 256 and _fits_byte(label) and _fits_byte(pred):
        matrix = _count_bytes(pred, label, num_classes, ignore_label)
    else:
        matrix = _count_any(pred, label, num_classes, ignore_label)
    return torch.from_numpy(matrix) if tensors else matrix


def confusion_matrices(pred: Tensor, label: Tensor, num_classes: int, ignore_label: int) -> Tensor:
    """The confusion matrix of each image of a batch: as `confusion_matrix`, for (N,...) -> (N,C,C) int64."""
    if label.device.type == "cpu":
        pairs = zip(pred, label, strict=True)
        return torch.stack([confusion_matrix(p, t, num_classes, ignore_label) for p, t in pairs])
    _check_maps(pred, label, pred.is_floating_point() or label.is_floating_point())
    return _count_on_device(pred, label, num_classes, ignore_label)


def _check_maps(pred: np.ndarray | Tensor, label: np.ndarray | Tensor, not_integer: bool) -> None:
    if pred.shape != label.shape:
        raise ValueError(f"prediction {tuple(pred.shape)} and label {tuple(label.shape)} must have the same shape")
    if not_integer:
        raise ValueError(f"expected maps of class numbers, got {pred.dtype} predictions and {label.dtype} labels")


def _check_range(what: str, values: Sequence[int], num_classes: int, ignore_label: int) -> None:
    wrong = [int(value) for value in values if not 0 <= value < num_classes]
    if wrong:
        allowed = f"0..{num_classes - 1}" + (f" or {ignore_label} (ignored)" if what == "label" else "")
        raise LabelValueError(
            f"{what} value {wrong[0]} is not in {allowed}; check that the data set's classes fit the label images"
        )


def _fits_byte(values: np.ndarray) -> bool:
    return values.dtype == np.uint8 or values.size == 0 or (values.min() >= 0 and values.max() <= 255)


def _count_bytes(pred: np.ndarray, label: np.ndarray, num_classes: int, ignore_label: int) -> np.ndarray:
    """By OpenCV's histogram, several times faster than a bincount of combined indices."""
    rows, columns = (np.ascontiguousarray(value, dtype=np.uint8).reshape(1, -1) for value in (label, pred))
    table = np.zeros((256, 256), np.int64)
    for start in range(0, rows.shape[1], _HISTOGRAM_PIXELS):
        part = [value[:, start : start + _HISTOGRAM_PIXELS] for value in (rows, columns)]
        table += cv2.calcHist(part, [0, 1], None, [256, 256], [0, 256, 0, 256]).astype(np.int64)
    if 0 <= ignore_label < 256:
        table[ignore_label] = 0
    _check_range("label", np.flatnonzero(table.any(1)), num_classes, ignore_label)
    _check_range("prediction", np.flatnonzero(table.any(0)), num_classes, ignore_label)
    return table[:num_classes, :num_classes].copy()


def _count_any(pred: np.ndarray, label: np.ndarray, num_classes: int, ignore_label: int) -> np.ndarray:
    counted = label != ignore_label
    rows, columns = label[counted].astype(np.int64), pred[counted].astype(np.int64)
    if rows.size:
        _check_range("label", (rows.min(), rows.max()), num_classes, ignore_label)
        _check_range("prediction", (columns.min(), columns.max()), num_classes, ignore_label)
    return np.bincount(rows * num_classes + columns, minlength=num_classes**2).reshape(num_classes, num_classes)


def _count_on_device(pred: Tensor, label: Tensor, num_classes: int, ignore_label: int) -> Tensor:
    """(N,...) maps -> (N,C,C): one count for the whole batch, with a block of cells for each image."""
    counted = label != ignore_label
    rows, columns = (torch.where(counted, values, 0).long() for values in (label, pred))
    if rows.numel():
        ranges = torch.stack([*rows.aminmax(), *columns.aminmax()]).tolist()
        _check_range("label", ranges[:2], num_classes, ignore_label)
        _check_range("prediction", ranges[2:], num_classes, ignore_label)
    images = torch.arange(len(label), device=label.device).view(-1, *[1] * (label.ndim - 1))
    cells = (images * num_classes + rows) * num_classes + columns
    ignored = len(label) * num_classes**2  # one cell behind the last block
    counts = torch.bincount(torch.where(counted, cells, ignored).flatten(), minlength=ignored + 1)
    return counts[:ignored].view(-1, num_classes, num_classes)


def compute_metrics(confusion_matrix: np.ndarray | Tensor, names: Sequence[str]) -> dict:
    """Scores of a confusion matrix (rows = truth), as fractions; None where there is nothing to divide by.

    Args:
        confusion_matrix: (C,C) integers; a further column counts pixels that are predicted as none of the classes.
        names: the C classes' names.

    Returns:
        `mean_iou` (over the classes in truth or prediction), `pixel_accuracy`, `mean_accuracy` (over the classes in
        truth), `frequency_weighted_iou`, and `per_class`: name -> `iou`, `precision` (of what was predicted as the
        class), `recall` (of what truly is the class) and `pixels` (of the truth).

    Raises:
        ValueError: a matrix whose size is not that of `names`.
    """
    matrix = np.asarray(confusion_matrix.cpu() if isinstance(confusion_matrix, Tensor) else confusion_matrix)
    count = len(names)
    if matrix.shape not in ((count, count), (count, count + 1)) or matrix.dtype.kind not in "iu":
        raise ValueError(f"expected an integer matrix of {count} classes, got {matrix.dtype} {matrix.shape}")
    hits, truth, predicted = (values.tolist() for values in (matrix.diagonal(), matrix.sum(1), matrix.sum(0)[:count]))
    iou = [_ratio(h, t + p - h) for h, t, p in zip(hits, truth, predicted, strict=True)]
    recall = [_ratio(h, t) for h, t in zip(hits, truth, strict=True)]
    precision = [_ratio(h, p) for h, p in zip(hits, predicted, strict=True)]
    weighted = math.fsum(t * i for t, i in zip(truth, iou, strict=True) if t)
    columns = zip(names, iou, precision, recall, truth, strict=True)
    return {
        "mean_iou": _mean(iou),
        "pixel_accuracy": _ratio(sum(hits), sum(truth)),
        "mean_accuracy": _mean(recall),
        "frequency_weighted_iou": _ratio(weighted, sum(truth)),
        "per_class": {
            name: {"iou": i, "precision": p, "recall": r, "pixels": pixels} for name, i, p, r, pixels in columns
        },
    }


def _ratio(part: float, whole: int) -> float | None:
    return part / whole if whole else None


def _mean(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return _ratio(math.fsum(present), len(present))
