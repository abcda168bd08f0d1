"""One, two and three processes leave the same bytes, however many images there are."""

import json

import pytest

from tests.conftest import launch, make_scenes
from tests.evaluate_sizes import evaluate_sizes
from tests.test_eval_scores import make_snapshot, results

SIZES = (1, 2, 3, 7, 13)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Snapshot, data sets, and what one process without workers leaves for each."""
    base = tmp_path_factory.mktemp("sizes")
    for size in SIZES:
        make_scenes(base / "data" / str(size), 2 * size, height=33, width=47, seed=size, ignore=True)
    snapshot = make_snapshot(base / "model.pth", base / "data" / "13")
    evaluate_sizes(str(snapshot), str(base / "data"), str(base / "1"), "0")
    return base


@pytest.mark.parametrize(("processes", "workers"), [(2, 1), (3, 0)])
def test_processes_and_workers_change_nothing(alone, processes, workers):
    out = alone / str(processes)
    argv = ["-m", "tests.evaluate_sizes", str(alone / "model.pth"), str(alone / "data"), str(out), str(workers)]
    done = launch(argv, processes)
    assert done.returncode == 0, done.stderr
    for size in SIZES:
        expected = results(alone / "1" / str(size))
        assert results(out / str(size)) == expected
        metrics = json.loads(expected["metrics.json"])
        assert metrics["num_images"] == size and metrics["loss"] > 0
        assert len(expected["per_image.csv"].splitlines()) == 1 + size
