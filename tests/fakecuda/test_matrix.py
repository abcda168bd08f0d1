"""Training steps on a GPU that isn't there, in every pair of options: no fault is found."""

import json

import pytest

from tests.fakecuda import rules
from tests.fakecuda.counts import PAGE, SMALL, TABLE, excess, page_with
from tests.fakecuda.harness import carry_out, faults_of, task
from tests.fakecuda.matrix import all_cases, covering, fast_cases

NARROW = "--arch fenet_tiny --channels 16 --crop_size 128 --ema 0.9"
TARGETS = {
    "fenet_r18": {"bytes": 19.5, "saved_bytes": 2.2},
    "fenet_r101": {"bytes": 47},
}  # GiB, of steps of 2 x 1024 crops
CHANGED = ("--no-channels_last --amp off", "--channels_last --amp bf16")  # of a run that resumes
COUNTS = json.loads(TABLE.read_text())


def test_every_pair_occurs_at_least_once():
    rows = covering({"a": [1, 2, 3], "b": [1, 2], "c": [1, 2]}, lambda row: row["a"] != row["b"])
    pairs = {(x, y) for row in rows for x in row.items() for y in row.items()}
    assert (("a", 1), ("b", 1)) not in pairs
    assert {(("a", 1), ("b", 2)), (("a", 3), ("c", 2)), (("b", 2), ("c", 1))} <= pairs
    assert len(rows) < 8


def test_the_page_shows_the_counts():
    page = PAGE.read_text()
    assert page == page_with(COUNTS, page), "python -m tests.fakecuda.counts --page"


def test_models_stay_within_what_they_may_cost():
    costs = {line.split()[1]: counts for line, counts in COUNTS.items() if line.endswith(" 1024")}
    for name, most in TARGETS.items():
        over = {key: costs[name][key] / 2**30 for key, limit in most.items() if costs[name][key] / 2**30 > limit}
        assert not over, name


@pytest.mark.parametrize(
    ("every", "optimizers"), [(3, ["adamw"]), pytest.param(1, ["sgd", "adamw"], marks=pytest.mark.slow)]
)
def test_ten_configurations(guard, tmp_path, every, optimizers):
    tasks = {case.name: task("train", *case.argv) for case in fast_cases()[::every]}
    tasks["counted"] = task("train", *SMALL.split())
    for optimizer in optimizers:
        tasks[f"resumed, {optimizer}"] = task("resume", *(f"{NARROW} --optimizer {optimizer} {o}" for o in CHANGED))
    results = carry_out(tasks, guard, tmp_path)
    assert not faults_of(results)
    assert len(results) == -(-10 // every) + 1 + len(optimizers)
    assert all(result["counts"]["kernels"] > 400 for result in results.values())
    assert not excess(results["counted"]["counts"], COUNTS[SMALL])


@pytest.mark.slow
def test_all_configurations(guard, tmp_path):
    results = carry_out({case.name: task("train", *case.argv) for case in all_cases()}, guard, tmp_path)
    assert not faults_of(results)
    needed = {tuple(row) for result in results.values() for row in result["excused"]}
    assert set(rules.FLOAT32) <= needed, "these rows of rules.FLOAT32 can go"


@pytest.mark.slow
def test_no_step_costs_much_more_than_it_did(guard, tmp_path):
    results = carry_out({line: task("train", *line.split()) for line in COUNTS}, guard, tmp_path)
    assert not faults_of(results)
    assert not {line: found for line in COUNTS if (found := excess(results[line]["counts"], COUNTS[line]))}
