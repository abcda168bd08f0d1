"""Losses and gradients that aren't finite: the step is skipped on all ranks, and too many in a row end the run."""

import json
import math
import os
from unittest.mock import Mock

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

import network
import train
from engine.checkpoint.digests import weights_sha256
from engine.checkpoint.run_state import RunState
from engine.checkpoint.snapshot import load_snapshot
from engine.inference.precision import Precision
from engine.training import build, learner
from engine.training.meters import LossMeter, StepMetrics
from engine.training.options import ScheduleOptions, ValidationOptions
from engine.training.plan import TrainSchedule
from engine.training.step import train_step
from engine.training.step_figures import StepFigures
from loss import CrossEntropy, OhemCrossEntropy, SegmentationLoss
from loss.pixelwise import masked_mean
from optimizer import ModelAverage, OptimizerOptions, build_optimizer, list_optimizers
from tests.conftest import train_args
from tests.processes import launch
from utils.distributed import Process
from utils.errors import NumericsError
from utils.logging import setup_logging

CPU = torch.device("cpu")


class Faulty(nn.Module):
    """Passes a criterion's terms on, with nan for the total at some calls."""

    def __init__(self, criterion, bad):
        super().__init__()
        self.criterion, self.bad, self.calls = criterion, bad, 0

    def set_progress(self, epoch):
        self.criterion.set_progress(epoch)

    def forward(self, outputs, labels):
        terms = self.criterion(outputs, labels)
        self.calls += 1
        return terms | {"total": terms["total"] * math.nan} if self.calls in self.bad else terms


@pytest.fixture
def faults(monkeypatch):
    """Called with the calls (from 1) whose loss is to be nan."""
    make = build.build_loss
    return lambda *bad: monkeypatch.setattr(build, "build_loss", lambda *args: Faulty(make(*args), bad))


def step_on(model, optimizer, images, total, precision=None):
    """One step whose loss is `total(logits)`; true if it was applied."""
    precision = precision or Precision.build("off", CPU)
    batch = {"image": images, "label": torch.zeros(len(images), dtype=torch.int64)}
    return train_step(model, lambda x, _: {"total": total(x)}, optimizer, [batch], precision, CPU)[1]


@pytest.mark.parametrize(
    "total",
    [
        lambda x: x.mean() * math.nan,
        lambda x: x.detach().mean() * 0 + math.inf + x.mean(),  # an infinite loss with finite gradients
        lambda x: (x - x).sqrt().mean(),  # a finite loss with infinite gradients
    ],
)
@pytest.mark.parametrize("name", list_optimizers())
@pytest.mark.parametrize("first", [True, False])
def test_nothing_changes_when_something_is_not_finite(total, name, first):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    images, optimizer = torch.randn(2, 3, 8, 8), build_optimizer(model, OptimizerOptions(optimizer=name, lr=0.1))
    if not first:
        assert step_on(model, optimizer, images, lambda x: x.square().mean())
    weights, momentum = floats(model.state_dict()), floats(optimizer.state_dict())
    assert not step_on(model, optimizer, images, total)
    assert_same(floats(model.state_dict()), weights)
    images[0, 0, 0, 0] = math.nan  # reaches the norm's statistics
    assert not step_on(model, optimizer, images, lambda x: x.square().mean())
    assert_same(floats(model.state_dict()), weights)
    after = floats(optimizer.state_dict())
    assert_same({key: after[key] for key in momentum}, momentum)
    assert all((after[key] == 0).all() for key in after.keys() - momentum.keys())


def floats(state, place=()):
    """Copies of the tensors of floats in nested dicts, by place."""
    found = {}
    for name, value in state.items():
        if isinstance(value, dict):
            found |= floats(value, (*place, name))
        elif isinstance(value, torch.Tensor) and value.is_floating_point():
            found[*place, name] = value.clone()
    return found


def assert_same(one, other):
    assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", list_optimizers())
def test_a_step_after_one_left_out_is_as_if_that_had_not_been(name):
    results = []
    for bad in (True, False):
        torch.manual_seed(0)
        model = nn.Conv2d(3, 4, 3)
        optimizer = build_optimizer(model, OptimizerOptions(optimizer=name, lr=0.1))
        images = torch.randn(2, 3, 8, 8)
        if bad:
            assert not step_on(model, optimizer, images, lambda x: x.mean() * math.nan)
        for _ in range(3):
            assert step_on(model, optimizer, images, lambda x: x.square().mean())
        results.append(model.state_dict())
    assert_same(*results)


def test_the_scaler_skips_a_first_step_and_lowers_its_scale():
    model, images = nn.Conv2d(3, 4, 3), torch.randn(2, 3, 8, 8)
    before, precision = floats(model.state_dict()), Precision.build("fp16", CPU)
    optimizer = build_optimizer(model, OptimizerOptions(lr=0.1, weight_decay=0.0))
    scale = precision.scaler.get_scale()
    assert not step_on(model, optimizer, images, lambda x: x.float().mean() * math.inf, precision)
    assert precision.scaler.get_scale() == scale / 2
    assert_same(floats(model.state_dict()), before)
    assert not any(optimizer.state[p]["momentum_buffer"].any() for p in model.parameters())
    assert step_on(model, optimizer, images, lambda x: x.float().square().mean() * 1e-3, precision)
    moved = model.bias.detach() - before[("bias",)]
    torch.testing.assert_close(moved, -0.1 * optimizer.state[model.bias]["momentum_buffer"])


def test_a_step_waits_for_nothing_that_the_device_computes():
    """Tensors without values can't be read, so whatever the host has to know about them would raise."""
    with FakeTensorMode():
        model = network.build_model("fenet_tiny", 3)
        optimizer = build_optimizer(model, OptimizerOptions(optimizer="adamw", lr=0.1))
        average, precision = ModelAverage(model, 0.9), Precision.build("off", CPU)
        batch = {"image": torch.randn(2, 3, 64, 64), "label": torch.zeros(2, 64, 64, dtype=torch.int64)}
        criterion, meter = SegmentationLoss(CrossEntropy()), LossMeter()
        for _ in range(2):
            terms, applied = train_step(model, criterion, optimizer, [batch], precision, CPU)
            average.update(model, applied)
            meter.add(terms, applied)
            outcome = StepMetrics(1, 0.1, ["a", "b"], terms, applied)
        with pytest.raises(DataDependentOutputException):
            outcome.read()


def test_choosing_hard_pixels_waits_for_nothing():
    """As on a GPU; on a CPU, where waiting costs nothing, they are counted first."""
    cross_entropy, valid = torch.rand(2, 64, 64, device="meta"), torch.ones(2, 64, 64, dtype=bool, device="meta")
    kept = OhemCrossEntropy(min_kept=100).hard_pixels(cross_entropy, valid)
    assert masked_mean(cross_entropy, kept).is_meta


def test_a_step_is_looked_at_while_the_next_one_is_under_way(scenes, tmp_path, monkeypatch):
    events = []
    step, read = learner.train_step, StepMetrics.read
    monkeypatch.setattr(learner, "train_step", lambda *args: (events.append("step"), step(*args))[1])
    monkeypatch.setattr(StepMetrics, "read", lambda self: (events.append(self.step), read(self))[1])
    assert train.main(train_args(scenes, tmp_path)) == 0
    assert events[:8] == ["step", "step", 1, "step", 2, "step", 3, 4]
    assert events[8:] == ["step", "step", 5, "step", 6, "step", 7, 8]


def test_skipped_steps_are_said_and_counted(scenes, tmp_path, faults, capfd):
    faults(2, 3, 5, 6, 7, 8)
    assert train.main(train_args(scenes, tmp_path, "--ema", "0.9")) == 0
    out = capfd.readouterr().out
    assert "step 2: loss or gradient not finite (rank 0" in out
    assert "skipped, 2 in a row" in out
    first, second = (json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    assert (first["skipped_steps"], second["skipped_steps"]) == (2, 4)
    assert math.isfinite(first["train_loss"])
    assert second["train_loss"] is None
    snapshot = load_snapshot(tmp_path / "run" / "last.pth")
    assert all(value.isfinite().all() for key in ("model", "average") for value in snapshot[key].values())


def test_too_many_in_a_row_end_the_run(scenes, tmp_path, faults, capfd):
    faults(2, 4, 5, 6)  # the count begins anew at step 3
    arguments = train_args(scenes, tmp_path, "--max_skipped_steps", "3", "--save_every", "1")
    assert train.main(arguments) == 6
    error = capfd.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: step 6: loss or gradient not finite (rank 0: ") and "total nan" in error
    assert "samples 0" in error and "--lr" in error
    snapshot = load_snapshot(tmp_path / "run" / "last.pth")
    assert snapshot["training"]["state"]["step"] == 5  # and going on is possible
    faults()
    assert train.main([*arguments, "--max_steps", "6"]) == 0


def test_a_loss_scale_that_is_being_found_is_no_fault(capsys):
    setup_logging(True)
    schedule = TrainSchedule(ScheduleOptions(max_epoch=9, max_skipped_steps=3), ValidationOptions(), 9)
    figures = StepFigures(RunState(), schedule, Process(0, 1, torch.device("cpu")), Mock(), Mock(), scaled=True)
    figures.skip(Mock(step=1, samples=["a"]), {"total": 1.0})
    assert capsys.readouterr().out.startswith(
        "step 1: gradients too large for float16, the loss scale is halved (rank 0"
    )
    for step in range(2, 19):
        figures.skip(Mock(step=step, samples=["a"]), {"total": 1.0})
    assert [line[:13] for line in capsys.readouterr().out.splitlines() if "WARNING" in line] == ["WARNING: step"] * 2
    with pytest.raises(NumericsError, match="step 19: gradients too large for float16"):
        figures.skip(Mock(step=19, samples=["a"]), {"total": 1.0})
    figures.state.skipped_in_row = 1
    figures.skip(Mock(step=9, samples=["a"]), {"total": float("nan")})
    assert capsys.readouterr().out.endswith("skipped, 2 in a row\n")
    with pytest.raises(NumericsError, match="as in the 3 steps up to it"):  # no scale mends a loss that isn't finite
        figures.skip(Mock(step=10, samples=["a"]), {"total": float("nan")})


def test_the_count_survives_a_resume(scenes, tmp_path, faults):
    faults(2, 3)
    arguments = train_args(scenes, tmp_path, "--max_skipped_steps", "3")
    assert train.main([*arguments, "--max_steps", "3"]) == 0
    faults(1)
    assert train.main(arguments) == 6


def train_with_rank_1_ill(*argv: str) -> int:
    make, bad = build.build_loss, (2,) if os.environ["RANK"] == "1" else ()
    build.build_loss = lambda *args: Faulty(make(*args), bad)
    return train.main(argv)


@pytest.mark.slow
def test_all_ranks_decide_alike(scenes, tmp_path):
    done = launch([train_with_rank_1_ill, *train_args(scenes, tmp_path, "--max_steps", "4")], processes=2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("step 2: loss or gradient not finite (rank 1: main ") == 1
    state = load_snapshot(tmp_path / "run" / "last.pth")["model"]
    assert weights_sha256(state) in done.stdout + done.stderr
