"""The confusion matrix, its scores and the boundary metrics."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.golden_vectors import load, vectors
from utils.errors import DataError
from utils.metrics import confusion as metrics
from utils.metrics.boundary import boundary_f_score, boundary_iou, boundary_iou_counts
from utils.metrics.confusion import compute_metrics, confusion_matrix

NAMES = ["road", "sky", "tree", "pole"]


def random_maps(seed: int, shape: tuple[int, ...], classes: int, ignore: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    pred, label = rng.integers(0, classes, (2, *shape))
    label[rng.random(shape) < 0.2] = ignore
    return pred, label


def counted_one_by_one(pred, label, classes, ignore):
    matrix = np.zeros((classes, classes), np.int64)
    for p, t in zip(pred.flat, label.flat, strict=True):
        if t != ignore:
            matrix[t, p] += 1
    return matrix


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    classes=st.sampled_from([1, 2, 19, 256, 300]),
    ignore=st.sampled_from([255, 0, -1, 1000]),
    dtype=st.sampled_from([np.uint8, np.int64, np.int32]),
)
def test_matrix_is_what_counting_one_by_one_gives(seed, classes, ignore, dtype):
    if dtype == np.uint8 and (classes > 256 or not 0 <= ignore < 256):
        dtype = np.int16
    pred, label = (values.astype(dtype) for values in random_maps(seed, (2, 9, 8), classes, ignore))
    expected = counted_one_by_one(pred, label, classes, ignore)
    found = confusion_matrix(pred, label, classes, ignore)
    assert isinstance(found, np.ndarray) and found.dtype == np.int64
    assert np.array_equal(found, expected)
    as_tensors = confusion_matrix(torch.from_numpy(pred), torch.from_numpy(label), classes, ignore)
    assert isinstance(as_tensors, torch.Tensor) and as_tensors.dtype == torch.int64
    assert np.array_equal(as_tensors.numpy(), expected)
    on_device = metrics._count_on_device(torch.from_numpy(pred), torch.from_numpy(label), classes, ignore)
    assert np.array_equal(on_device.sum(0).numpy(), expected)
    each = metrics.confusion_matrices(torch.from_numpy(pred), torch.from_numpy(label), classes, ignore)
    assert torch.equal(each, on_device)


def test_matrix_takes_views_and_counts_beyond_float32(monkeypatch):
    pred, label = random_maps(0, (40, 60), 4, 255)
    expected = counted_one_by_one(pred[::2, ::3], label[::2, ::3], 4, 255)
    monkeypatch.setattr(metrics, "_HISTOGRAM_PIXELS", 37)
    assert np.array_equal(confusion_matrix(pred[::2, ::3], label[::2, ::3], 4, 255), expected)
    monkeypatch.undo()
    zeros = np.zeros(2**24 + 3, np.uint8)
    assert confusion_matrix(zeros, zeros, 1, 255)[0, 0] == 2**24 + 3


@pytest.mark.parametrize("count", ["_count_bytes", "_count_any", "_count_on_device"])
@pytest.mark.parametrize(
    ("pred", "label", "message"),
    [
        ([0, 1], [0, 4], "label value 4 is not in 0..3 or 255"),
        ([0, 4], [0, 1], "prediction value 4 is not in 0..3;"),
        ([0, 255], [0, 1], "prediction value 255"),
    ],
)
def test_values_that_are_no_class_are_named(count, pred, label, message):
    as_kind = torch.tensor if count == "_count_on_device" else np.array
    with pytest.raises(DataError, match=message):
        getattr(metrics, count)(as_kind(pred), as_kind(label), 4, 255)
    with pytest.raises(ValueError, match=message):
        confusion_matrix(np.array(pred), np.array(label), 4, 255)


def test_other_maps_that_cannot_be_counted_are_refused():
    with pytest.raises(ValueError, match="label value -1"):
        confusion_matrix(np.array([0, 0]), np.array([0, -1]), 4, 255)
    with pytest.raises(ValueError, match=r"\(2,\) and label \(3,\)"):
        confusion_matrix(np.zeros(2, int), np.zeros(3, int), 4, 255)
    with pytest.raises(ValueError, match="float64 predictions"):
        confusion_matrix(np.zeros(2), np.zeros(2, int), 4, 255)


def test_predictions_where_nothing_counts_are_left_alone():
    pred, label = np.array([1, 77]), np.array([1, 255])
    assert confusion_matrix(pred, label, 4, 255).sum() == 1
    assert confusion_matrix(pred, np.array([255, 255]), 4, 255).sum() == 0


def test_scores_of_a_matrix_worked_out_by_hand():
    result = compute_metrics(np.array([[6, 2, 0, 0], [1, 3, 0, 0], [0, 0, 0, 0], [2, 0, 0, 0]]), NAMES)
    per_class = result["per_class"]
    assert per_class["road"] == {"iou": 6 / 11, "precision": 6 / 9, "recall": 6 / 8, "pixels": 8}
    assert per_class["sky"] == {"iou": 3 / 6, "precision": 3 / 5, "recall": 3 / 4, "pixels": 4}
    assert per_class["tree"] == {"iou": None, "precision": None, "recall": None, "pixels": 0}
    assert per_class["pole"] == {"iou": 0.0, "precision": None, "recall": 0.0, "pixels": 2}
    assert result["mean_iou"] == pytest.approx((6 / 11 + 1 / 2 + 0) / 3)
    assert result["pixel_accuracy"] == 9 / 14
    assert result["mean_accuracy"] == pytest.approx((6 / 8 + 3 / 4 + 0) / 3)
    assert result["frequency_weighted_iou"] == pytest.approx((8 * 6 / 11 + 4 * 1 / 2) / 14)


def test_a_class_only_predicted_counts_in_the_mean_iou_but_not_in_the_mean_accuracy():
    result = compute_metrics(torch.tensor([[3, 1], [0, 0]]), NAMES[:2])
    assert (result["mean_iou"], result["mean_accuracy"]) == (0.375, 0.75)
    assert result["per_class"]["sky"] == {"iou": 0.0, "precision": 0.0, "recall": None, "pixels": 0}


def test_a_perfect_prediction_scores_one():
    label = vectors.labels(1, 32, 32, 0, classes=4)[0]
    result = compute_metrics(confusion_matrix(np.where(label == 255, 0, label), label, 4, 255), NAMES)
    totals = {"mean_iou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou"}
    assert {key: result[key] for key in totals} == dict.fromkeys(totals, 1.0)
    assert all(row[key] == 1.0 for row in result["per_class"].values() for key in ("iou", "precision", "recall"))


def test_scores_of_nothing_are_none_and_of_huge_counts_exact():
    empty = compute_metrics(np.zeros((4, 4), np.int64), NAMES)
    assert empty["mean_iou"] is empty["pixel_accuracy"] is empty["frequency_weighted_iou"] is None
    huge = 2**60
    result = compute_metrics(np.array([[huge, 1], [0, huge]]), NAMES[:2])
    assert result["pixel_accuracy"] == (2 * huge) / (2 * huge + 1)
    assert result["per_class"]["sky"]["pixels"] == huge
    with pytest.raises(ValueError, match="4 classes"):
        compute_metrics(np.zeros((3, 3), np.int64), NAMES)


@pytest.mark.parametrize(
    "case", [c for c in load("losses")["cases"] if c["kind"] == "boundary_f_score"], ids=lambda c: str(c["seed"])
)
def test_boundary_f_score_reaches_the_reference(case):
    label = vectors.labels(1, *case["shape"], case["seed"])[0]
    pred = np.roll(label, 2, axis=1)
    pred[pred == 255] = 0
    found = boundary_f_score(pred, label, 19, case["threshold"], 255)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, case["f_per_class"], rtol=1e-12)
    tensors = boundary_f_score(torch.from_numpy(pred), torch.from_numpy(label), 19, case["threshold"], 255)
    np.testing.assert_array_equal(tensors, found)


def f_score_one_by_one(pred, label, c, threshold, ignore):
    height, width = label.shape
    radius = math.ceil(threshold * math.hypot(height, width))

    def boundary(mask):
        after = ((0, 1), (1, 0), (1, 1))
        return [
            (y, x)
            for y in range(height)
            for x in range(width)
            if any(y + j < height and x + i < width and mask[y, x] != mask[y + j, x + i] for j, i in after)
        ]

    p, t = (boundary((values == c) & (label != ignore)) for values in (pred, label))
    if not p and not t:
        return math.nan

    def near(points, others):
        close = [any((y - j) ** 2 + (x - i) ** 2 <= radius**2 for j, i in others) for y, x in points]
        return sum(close) / len(close) if close else 0.0

    precision, recall = near(p, t), near(t, p)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), threshold=st.sampled_from([0.0, 0.05, 0.1, 0.2]), share=st.floats(0.01, 0.3))
def test_boundary_f_score_by_its_definition(seed, threshold, share):
    rng = np.random.default_rng(seed)
    pred, label = (rng.random((2, 12, 15)) < share).astype(np.uint8)
    label[rng.random(label.shape) < 0.05] = 255
    found = boundary_f_score(pred, label, 3, threshold, 255)
    expected = [f_score_one_by_one(pred, label, c, threshold, 255) for c in range(3)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def band_one_by_one(mask, width):
    padded = np.pad(mask, width)
    height, columns = mask.shape
    windows = {(y, x): padded[y : y + 2 * width + 1, x : x + 2 * width + 1] for y, x in np.ndindex(height, columns)}
    return np.array([[mask[y, x] and not windows[y, x].all() for x in range(columns)] for y in range(height)])


def test_boundary_iou_by_its_definition():
    label = vectors.labels(1, 40, 48, 0, classes=3, block=10)[0]
    pred = np.roll(label, 2, axis=1)
    pred[pred == 255] = 0
    counts = boundary_iou_counts(pred, label, 4, 255, ratio=0.04)
    for c in range(4):
        p, t = (band_one_by_one((values == c) & (label != 255), 2) for values in (pred, label))
        assert counts[c].tolist() == [(p & t).sum(), (p | t).sum()]
    found = boundary_iou(torch.from_numpy(pred), torch.from_numpy(label), 4, 255, ratio=0.04)
    np.testing.assert_allclose(found[:3], counts[:3, 0] / counts[:3, 1])
    assert np.isnan(found[3])
    assert (boundary_iou(label, label, 3, 255) == 1).all()


@pytest.mark.parametrize(("size", "width"), [(10, 1), (100, 3)])
def test_boundary_iou_band_is_two_percent_of_the_diagonal(size, width):
    label = np.zeros((size, size), np.uint8)
    (band, _), *_ = boundary_iou_counts(label, label, 1, 255)
    assert band == size**2 - (size - 2 * width) ** 2


def test_boundary_maps_of_different_sizes_are_refused():
    for metric in (boundary_iou, lambda *args: boundary_f_score(*args[:3], 0.01, args[3])):
        with pytest.raises(ValueError, match=r"\(4, 4\) and \(4, 5\)"):
            metric(np.zeros((4, 4), int), np.zeros((4, 5), int), 2, 255)
