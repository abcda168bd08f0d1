"""scripts/benchmark.py study-steps: seconds a step of each variant of a study."""

import json

import pytest

from scripts import benchmark
from scripts.benchmarks import study_steps

SMALL = {
    "dataset": "synthetic",
    "arch": "fenet_tiny",
    "crop_size": 64,
    "bs_mult": 2,
    "num_workers": 0,
    "max_iters": 900,
}
STUDY = {"base": SMALL, "variants": {"both": {}, "without FEM-S": {"fem_s": False}}, "seeds": [3, 4]}


class Process:
    """A run of which steps of the variant without FEM-S take 3 s in place of 4, and whose first turn is slow."""

    def __init__(self, tree, options, errors):
        assert "--seed=3" in options and "--log_every=1" in options
        self.step, self.seconds = 3.0 if "--no-fem_s" in options else 4.0, []

    def advance(self, steps):
        self.seconds.append([self.step if self.seconds else 60.0] * (steps - 1))

    def end(self):
        pass


def measure(tmp_path, *options):
    """The JSON of the study above."""
    (tmp_path / "study.json").write_text(json.dumps(STUDY))
    argv = ["study-steps", "--study", str(tmp_path / "study.json"), "--json", str(tmp_path / "a.json"), *options]
    assert benchmark.main(argv) == 0
    return json.loads((tmp_path / "a.json").read_text())


def test_how_many_more_steps_fit_into_equal_time(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(study_steps, "TrainingProcess", Process)
    arms = measure(tmp_path, "--steps", "30")["arms"]
    both, one = arms["both"], arms["without FEM-S"]
    assert (both["median"], both["ratio"]) == (4.0, 1) and (one["median"], one["ratio"]) == (3.0, 4 / 3)
    assert one["parameters"] < both["parameters"] and 0 < one["giga_macs"] < both["giga_macs"]
    assert "ratio 1.33" in capsys.readouterr().out


def test_a_study_has_to_be_named(tmp_path, capsys):
    assert benchmark.main(["study-steps", "--json", str(tmp_path / "a.json")]) == 2
    assert "--study: name the STUDY.json" in capsys.readouterr().err


@pytest.mark.slow
def test_runs_of_a_study_take_turns(tmp_path):
    arms = measure(tmp_path, "--steps", "20")["arms"]
    assert set(arms) == {"both", "without FEM-S"} and all(0 < row["median"] < 60 for row in arms.values())
