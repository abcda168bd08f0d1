"""Intervals over images."""

import numpy as np
import pytest

from utils.metrics.bootstrap import bootstrap_iou, difference_intervals, iou_intervals, resample


def make_counts(images: int, classes: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    union = rng.integers(0, 2**40, (images, classes)) * (rng.random((images, classes)) < 0.5)
    return np.stack([(union * rng.random((images, classes))).astype(np.int64), union], axis=-1)


def test_every_resample_is_the_score_of_the_images_drawn():
    counts = make_counts(7, 5)
    found = bootstrap_iou(counts, 600, seed=3)
    drawn = np.concatenate(list(resample(7, 600, seed=3)))
    assert found.shape == (600, 6) and drawn.shape == (600, 7) and (drawn.sum(1) == 7).all()
    for row, times in zip(found, drawn, strict=True):
        common, union = np.repeat(counts, times, axis=0).sum(0).T
        expected = [a / b if b else np.nan for a, b in zip(common.tolist(), union.tolist(), strict=True)]
        np.testing.assert_array_equal(row[:-1], expected)
        assert row[-1] == pytest.approx(np.nanmean(expected), nan_ok=True)


def test_images_are_drawn_alike_and_the_seed_matters():
    drawn = np.concatenate(list(resample(4, 3000)))
    assert drawn.mean(0) == pytest.approx(np.ones(4), abs=0.1)
    assert drawn.var(0) == pytest.approx(np.full(4, 0.75), abs=0.1)  # binomial: n p (1 - p)
    assert np.array_equal(drawn, np.concatenate(list(resample(4, 3000))))
    assert not np.array_equal(drawn, np.concatenate(list(resample(4, 3000, seed=1))))


def test_interval_covers_about_95_percent_of_a_known_spread():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        common = rng.integers(400, 601, (50, 1))  # of 1000 pixels: the true IoU is 0.5
        _, (low, high) = iou_intervals(np.stack([common, np.full((50, 1), 1000)], -1), 300)
        hits += low <= 0.5 <= high
    assert 0.88 <= hits / 200 <= 0.99


def test_one_image_says_nothing_about_others():
    assert iou_intervals(make_counts(1, 3), 100) == ([None] * 3, None)
    assert iou_intervals(make_counts(9, 3), 0) == ([None] * 3, None)
    counts = make_counts(9, 3)
    counts[1:, 0] = 0
    classes, mean = iou_intervals(counts, 100)
    assert classes[0] is None and mean is not None


def test_an_evaluation_does_not_differ_from_itself():
    counts = make_counts(9, 3)
    classes, mean = difference_intervals(counts, counts, 100)
    assert mean == [0, 0] and all(ends in ([0, 0], None) for ends in classes)


def test_pairs_are_sharper_than_two_intervals():
    rng = np.random.default_rng(0)
    union = np.full((40, 1), 1000)
    first = rng.integers(100, 900, (40, 1))  # images differ much, the methods always by 20 to 30 pixels
    second = first + rng.integers(20, 31, (40, 1))
    first, second = (np.stack([common, union], -1) for common in (first, second))
    _, (low, high) = difference_intervals(first, second, 500)
    assert 0.02 < low < high < 0.03
    _, (low, high) = iou_intervals(first, 500)
    assert high - low > 0.05
