"""Calibration error and risk by coverage against plain loops in double precision."""

import itertools

import numpy as np
import pytest

from utils.metrics.bootstrap import intervals
from utils.metrics.calibration import (
    BINS,
    RANKS,
    calibration_error,
    certainty_counts,
    reliability,
    risk_at,
    risk_coverage_area,
)


def draw(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Certainties crowded towards 1, as a network's are, and labels that are right a little less often."""
    rng = np.random.default_rng(seed)
    certainty = (1 - rng.random(count) ** 8).astype(np.float32)
    certainty[:4] = 0, 1, 1 / 15, 14 / 15
    return certainty, rng.random(count) < 0.95 * certainty


def test_calibration_error_is_that_of_a_loop():
    certainty, right = draw(3000)
    counts = certainty_counts(certainty, right)
    bins = [[pair for pair in zip(certainty.tolist(), right.tolist(), strict=True)
             if min(int(pair[0] * 15), 14) == i] for i in range(15)]  # fmt: skip
    expected = sum(abs(sum(r for _, r in rows) - sum(c for c, _ in rows)) for rows in bins) / 3000
    assert BINS == 15 and counts["bins"].dtype == np.int64 and counts["sums"].dtype == np.float64
    assert calibration_error(counts["bins"], counts["sums"]) == pytest.approx(expected, rel=1e-12)
    table = reliability(counts["bins"], counts["sums"])
    assert table["pixels"] == [len(rows) for rows in bins]
    means = [sum(r for _, r in rows) / len(rows) if rows else None for rows in bins]
    assert table["accuracy"] == pytest.approx(means)


def test_risk_coverage_area_is_that_of_a_loop():
    rng = np.random.default_rng(0)
    uncertainty = np.ldexp(1 + (rng.permutation(512)[:, None] % 32 + 0.5) / 32, -1 - rng.permutation(16)).ravel()
    certainty = np.unique(1 - uncertainty).astype(np.float32)  # each of a rank of its own
    rng.shuffle(certainty)
    right = rng.random(512) < certainty
    ranks = certainty_counts(certainty, right)["ranks"]
    wrong, risks = 0, []
    for n, i in enumerate(np.argsort(-certainty, kind="stable"), 1):
        wrong += not right[i]
        risks.append(wrong / n)
    assert ranks.shape == (2, RANKS) and ranks.dtype == np.int64
    assert risk_coverage_area(ranks) == pytest.approx(sum(risks) / 512, rel=1e-12)
    assert risk_at(ranks, np.array([0.75, 1.0])).tolist() == pytest.approx([risks[383], risks[-1]], rel=1e-12)


def test_equally_certain_pixels_count_in_every_order():
    certainty = np.array([1, 0.5, 0.5, 0.5, 0.25, 0.25], np.float32)  # as the passes' agreement has ties
    right = np.array([True, True, False, True, False, False])
    areas = []
    for middle, last in itertools.product(itertools.permutations(right[1:4]), itertools.permutations(right[4:])):
        wrong = np.cumsum(~np.array([right[0], *middle, *last]))
        areas.append((wrong / np.arange(1, 7)).mean())
    found = risk_coverage_area(certainty_counts(certainty, right)["ranks"])
    assert found == pytest.approx(np.mean(areas), rel=1e-12)


def test_counts_add_up_and_intervals_hold_the_score():
    parts = [certainty_counts(*draw(500, seed)) for seed in range(6)]
    whole = certainty_counts(
        *(np.concatenate(each) for each in zip(*(draw(500, seed) for seed in range(6)), strict=True))
    )
    for key in ("bins", "ranks"):
        assert np.array_equal(sum(part[key] for part in parts), whole[key])
    ranks = np.stack([part["ranks"] for part in parts])
    low, high = intervals(ranks, risk_coverage_area, 300)
    assert low < risk_coverage_area(whole["ranks"]) < high
    assert intervals(ranks, risk_coverage_area, 0) is None
    assert np.isnan(risk_coverage_area(np.zeros((2, RANKS))))
