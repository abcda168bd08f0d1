"""Which parts stay in float32, of models whose labels are made up."""

import numpy as np
import pytest

from engine.export.budget import Budget
from utils.errors import CheckpointError

TRUTH = np.arange(100).reshape(10, 10) % 2
COSTS = {"stem": 1, "body": 10, "neck": 0, "head": 4}  # wrong labels that a part in int8 makes


def build(floats):
    """All labels right but for the costs of what is in int8."""
    wrong = 0 if floats is None else sum(cost for part, cost in COSTS.items() if part not in floats)
    labels = TRUTH.copy()
    labels.reshape(-1)[:wrong] ^= 1
    return lambda image: labels.astype(np.uint8)


def budget(points: float) -> Budget:
    sample = (np.zeros((10, 10, 3), np.uint8), TRUTH.astype(np.uint8))
    return Budget(points, lambda: iter([sample, sample]), ["even", "odd"])


def test_the_costliest_parts_come_first_and_no_more_than_are_needed():
    tried = {points: [trial.floats for trial in budget(points).choose(build, COSTS)] for points in (40, 12, 3)}
    assert tried[40] == [None, ()]
    assert tried[12] == [None, (), ("body",)]
    assert tried[3] == [None, (), ("body",), ("body", "head")]


def test_a_budget_that_cannot_be_kept_is_one_line():
    nothing_helps = lambda floats: build(None if floats is None else ())  # noqa: E731
    with pytest.raises(CheckpointError, match="--int8_budget 0: in int8 .* loses .* stem, body, neck, head but one"):
        budget(0).choose(nothing_helps, COSTS)
