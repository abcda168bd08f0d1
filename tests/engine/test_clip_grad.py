"""`--clip_grad` against PyTorch's own clipping, with accumulation, a loss scaler, and gradients that aren't finite."""

import pytest
import torch
from torch import nn

import train
from engine.inference.precision import Precision
from engine.training.recorder import Recorder
from engine.training.step import train_step
from optimizer import OptimizerOptions, build_optimizer
from tests.conftest import make_scenes, train_args
from utils.errors import OptionError

CPU, NORM = torch.device("cpu"), 0.25


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Conv2d(4, 2, 1))

    def forward(self, images):
        return {"logits": self.layers(images)}


def criterion(outputs, labels):
    return {"total": nn.functional.cross_entropy(outputs["logits"].float(), labels)}


def batches(scale=40.0):
    torch.manual_seed(1)
    return [{"image": scale * torch.randn(2, 3, 6, 6), "label": torch.randint(0, 2, (2, 4, 4))} for _ in range(2)]


def step(amp="off", clip_grad=NORM, data=None):
    model = Model()
    optimizer = build_optimizer(model, OptimizerOptions(lr=0.5, weight_decay=0))
    precision = Precision.build(amp, CPU)
    if precision.scaler.is_enabled():
        precision.scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    terms, applied = train_step(model, criterion, optimizer, data or batches(), precision, CPU, clip_grad=clip_grad)
    return model, terms, bool(applied)


def expected(norm=NORM):
    model = Model()
    sum(criterion(model(batch["image"]), batch["label"])["total"] for batch in batches()).div(2).backward()
    before = nn.utils.clip_grad_norm_(model.parameters(), norm)
    return before, [parameter - 0.5 * parameter.grad for parameter in model.parameters()]


def test_all_gradients_are_shortened_alike():
    before, weights = expected()
    model, terms, applied = step()
    assert applied and before > 2 * NORM
    torch.testing.assert_close(terms["grad_norm"], before)
    torch.testing.assert_close(list(model.parameters()), weights)
    _, terms, applied = step("fp16")  # of gradients without their scale
    assert applied and terms["grad_norm"].item() == pytest.approx(before.item(), rel=0.05)


def test_shorter_gradients_stay_to_the_bit():
    (loose, terms, _), (free, without, _) = step(clip_grad=1e6), step(clip_grad=None)
    assert all(map(torch.equal, loose.parameters(), free.parameters()))
    assert set(terms) - set(without) == {"grad_norm"}


@pytest.mark.parametrize("amp", ["off", "fp16"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_gradient_that_is_not_finite_changes_nothing(amp, value):
    data = batches()
    data[0]["image"][0, 0, 0, 0] = value
    model, _, applied = step(amp, data=data)
    assert not applied and all(map(torch.equal, model.parameters(), Model().parameters()))


def test_a_norm_that_overflows_leaves_the_step_out():
    model = Model()
    optimizer = build_optimizer(model, OptimizerOptions(lr=0.5, weight_decay=0))
    steep = lambda outputs, labels: {"total": 1e25 * outputs["logits"].mean()}  # noqa: E731
    _, applied = train_step(model, steep, optimizer, batches(), Precision.build("off", CPU), CPU, clip_grad=1.0)
    assert not applied and all(map(torch.equal, model.parameters(), Model().parameters()))


def test_the_norm_is_among_the_figures_of_a_step(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(Recorder, "step", lambda self, step, values: figures.append(values))
    data = make_scenes(tmp_path / "data", 4)
    for more in ((), ("--clip_grad", "0.5")):
        argv = train_args(data, tmp_path / str(len(more)), "--class_uniform_pct", "0", "--max_steps", "1", *more)
        assert train.main(argv) == 0
    without, clipped = figures
    assert "grad_norm" not in without and clipped["grad_norm"] > 0 and clipped["total"] == without["total"]
    with pytest.raises(OptionError, match="--clip_grad 0.0: must be positive"):
        OptimizerOptions(clip_grad=0.0)
