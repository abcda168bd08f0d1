"""`--max_iters`: a run of steps ends there, to the bit also after a stop, and can be made longer."""

import json

import pytest

import train
from datasets.options import DataOptions
from engine.checkpoint.snapshot import load_snapshot
from engine.training.checks import data_plan
from engine.training.options import ScheduleOptions, ValidationOptions
from tests.conftest import make_scenes, train_args
from transforms import AugmentOptions

RUN = ("--max_iters", "5", "--lr_schedule", "cosine")


@pytest.mark.slow
def test_a_run_of_steps(tmp_path, capfd):
    data = make_scenes(tmp_path / "data", 8)

    def go(name: str, *more: str) -> tuple[int, str]:
        argv = train_args(data, tmp_path / name, "--class_uniform_pct", "0", "--val_every", "9", *more)
        del argv[(at := argv.index("--max_epoch")) : at + 2]
        code = train.main(argv)
        return code, "".join(capfd.readouterr())

    def digest(text: str) -> str:
        return text.partition("final weights sha256: ")[2].split()[0]

    code, text = go("a", *RUN, "--max_epoch", "2")
    assert code == 2 and "--max_iters 5 --max_epoch 2: both are the run's length; choose one" in text
    code, whole = go("a", *RUN)
    assert code == 0 and "schedule: 5 steps in epochs of 4 of 2 crops" in whole and " step 5/5 loss " in whole
    lines = [json.loads(line) for line in (tmp_path / "a" / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line["step"], "mean_iou" in line) for line in lines] == [(0, 4, False), (1, 5, True)]
    for stop in ("3", "5"):
        code, text = go("b", *RUN, "--max_steps", stop)
        assert code == 0 and f"reached --max_steps at step {stop}, saved" in text
    code, text = go("b", *RUN)
    assert code == 0 and "resuming at step 5" in text and digest(text) == digest(whole)
    assert "this run is finished" in go("b", *RUN)[1]
    code, text = go("b", *RUN, "--max_iters", "7")
    assert code == 2 and "max_iters was 5, is 7" in text
    code, text = go("b", *RUN, "--max_iters", "4", "--resume_override")
    assert code == 2 and "--max_iters 4: " in text and "has made 5 already" in text
    assert go("b", *RUN, "--max_iters", "7", "--resume_override")[0] == 0
    assert load_snapshot(tmp_path / "b" / "run" / "last.pth")["training"]["state"]["step"] == 7


@pytest.mark.parametrize(
    ("crops", "iters", "whole"),
    [(100000, 200_000, 0), (9, 500, 0), (9, 501, 2), (3, 500, 2)],
)
def test_whole_images_are_expected_of_the_epochs_that_so_many_steps_make(crops, iters, whole):
    schedule, augment = ScheduleOptions(bs_mult=2, max_iters=iters), AugmentOptions(max_crop_epoch=crops)
    plan = data_plan(DataOptions(), augment, schedule, ValidationOptions(), images=100)
    assert plan.whole_batch == whole  # in epochs of 50 steps
