"""One, two and three processes leave the same bytes, however many images there are."""

import json
from pathlib import Path

import pytest

from config import parse_eval
from eval import evaluate_snapshot
from tests.conftest import eval_args, make_scenes
from tests.processes import launch
from tests.test_eval_scores import make_snapshot, results
from utils import distributed
from utils.files import make_folder

SIZES = (1, 3, 7)


def evaluate_sizes(snapshot: Path, data: Path, out: Path, workers: int) -> None:
    """Evaluate the data sets `data/<number>` one after the other and leave the results in `out/<number>`."""
    with distributed.job("cpu") as process:
        for folder in sorted(data.iterdir()):
            argv = eval_args(snapshot, folder, out / folder.name, "--boundary", "--num_workers", str(workers))
            options, _ = parse_eval(argv)
            make_folder(options.save_dir, "--save_dir")
            evaluate_snapshot(options, process)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Snapshot, data sets, and what one process without workers leaves for each."""
    base = tmp_path_factory.mktemp("sizes")
    for size in SIZES:
        make_scenes(base / "data" / str(size), 2 * size, height=33, width=47, seed=size, ignore=True)
    make_snapshot(base / "model.pth", base / "data" / "7")
    evaluate_sizes(base / "model.pth", base / "data", base / "1", 0)
    return base


@pytest.mark.parametrize(("processes", "workers"), [pytest.param(2, 1, marks=pytest.mark.slow), (3, 0)])
def test_processes_and_workers_change_nothing(alone, processes, workers):
    out = alone / str(processes)
    done = launch([evaluate_sizes, alone / "model.pth", alone / "data", out, workers], processes)
    assert done.returncode == 0, done.stderr
    for size in SIZES:
        expected = results(alone / "1" / str(size))
        assert results(out / str(size)) == expected
        metrics = json.loads(expected["metrics.json"])
        assert metrics["num_images"] == size
        assert metrics["loss"] > 0
        assert len(expected["per_image.csv"].splitlines()) == 1 + size
