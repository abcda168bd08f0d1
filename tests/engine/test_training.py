"""The meter of waiting, batches that are augmented in the step, and a resume in another memory layout."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from config import parse_train
from engine.inference.precision import Precision
from engine.training.build import adapt_model, build_learner, build_schedule, create_model
from engine.training.learner import Learner
from engine.training.meters import DataTimer
from engine.training.resume import Checkpoint
from engine.training.step import step_if_finite, train_step
from optimizer import OptimizerOptions, build_optimizer, list_optimizers
from utils.distributed import Process

CPU = torch.device("cpu")


def test_only_the_wait_for_the_next_item_is_counted():
    now = 0.0

    def slow():
        nonlocal now
        for i in range(5):
            now += 2
            yield i

    timer = DataTimer(10.0, clock=lambda: now)
    for _ in timer.timed(slow()):
        now += 100
    assert timer.seconds == 20


def test_items_and_faults_pass_through():
    timer = DataTimer()
    assert list(timer.timed([1, 2, 3])) == [1, 2, 3] and list(timer.timed([])) == []

    def broken():
        yield 1
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        list(timer.timed(broken()))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return {"logits": self.scale * x}


def test_a_step_takes_what_the_augmentation_makes():
    model, seen = Model(), []

    def criterion(outputs, labels):
        seen.append((outputs["logits"].detach().sum().item(), labels.sum().item()))
        return {"total": outputs["logits"].mean()}

    def augment(batch):
        return {"image": batch["windows"].float().view(1, 1, 2, 2) + 1, "label": torch.ones(1, 2, 2).long()}

    device = torch.device("cpu")
    optimizer = build_optimizer(model, OptimizerOptions(lr=0.1, weight_decay=0))
    batches = [{"windows": torch.zeros(4, dtype=torch.uint8)}] * 2
    train_step(model, criterion, optimizer, batches, Precision.build("off", device), device, augment=augment)
    assert seen == [(4.0, 4), (4.0, 4)] and model.scale.item() == pytest.approx(0.9)


@pytest.mark.parametrize("build", [torch.optim.RMSprop, lambda groups, lr: torch.optim.SGD(groups, lr, fused=True)])
def test_a_step_that_is_not_finite_is_left_out_by_every_optimizer(build):
    weight = nn.Parameter(torch.ones(3))
    optimizer = build([weight], lr=0.1)
    weight.grad = torch.full((3,), torch.nan)
    step_if_finite(torch.tensor(False), optimizer)
    assert weight.tolist() == [1, 1, 1]
    weight.grad = torch.ones(3)
    step_if_finite(torch.tensor(True), optimizer)
    assert (weight < 1).all()


def learner(*options: str) -> Learner:
    config, process = parse_train(["--arch", "fenet_tiny", "--channels", "16", *options]), Process(0, 1, CPU)
    torch.manual_seed(0)
    model = adapt_model(create_model(config, 4), config, process)
    built = build_learner(config, process, model, 4, None)
    built.start_epoch(0)
    return built


def content(one: Learner) -> dict:
    return copy.deepcopy({"model": one.model.state_dict(), "training": one.state_dict()})


@pytest.mark.parametrize("optimizer", list_optimizers())
def test_a_run_resumes_in_the_other_memory_layout(optimizer):
    torch.manual_seed(1)
    batch = {"image": torch.randn(2, 3, 32, 32), "label": torch.randint(0, 4, (2, 32, 32))}
    first = learner("--optimizer", optimizer)
    config = parse_train(["--optimizer", optimizer])
    first.step([batch], 0, build_schedule(config, 10, Process(0, 1, CPU)))
    weights = []
    for layout in ("--channels_last", "--no-channels_last"):
        resumed = learner("--optimizer", optimizer, layout)
        resumed.load(Checkpoint(Path("last.pth"), content(first)))
        for parameter, gradient in zip(resumed.model.parameters(), first.model.parameters(), strict=True):
            parameter.grad = torch.empty_like(parameter).copy_(gradient.grad)
        resumed.optimizer.step()
        weights.append(list(resumed.model.parameters()))
    torch.testing.assert_close(*weights, rtol=1e-6, atol=1e-7)
