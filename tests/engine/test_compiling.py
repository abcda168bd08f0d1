"""Compiled steps: the comparison before the first one, what it leaves alone, and what happens where it fails."""

import shutil

import pytest
import torch
from torch import nn

from engine.training import compile as compiling
from engine.training.compile import CompiledStep, Pass, describe_difference
from utils.errors import EnvironmentFault

CPU = torch.device("cpu")


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.dropout = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout2d(0.5)

    def forward(self, x):
        return {"logits": self.dropout(self.norm(self.conv(x)))}


class Criterion(nn.Module):
    def __init__(self):
        super().__init__()
        self.part = nn.Identity()

    def forward(self, outputs, labels):
        return {"total": self.part(outputs["logits"]).square().mean()}


def build(backend="eager", dtype=None) -> CompiledStep:
    torch.manual_seed(0)
    torch._dynamo.reset()
    return CompiledStep(Model().train(), Criterion(), dtype, CPU, backend=backend)


def batch(size=8) -> dict:
    return {"image": torch.randn(2, 3, size, size), "label": torch.zeros(2, size, size, dtype=torch.int64)}


def wrong(graph, inputs):
    """A backend whose code is wrong."""
    return lambda *args: tuple(value * 1.01 for value in graph(*args))


def test_agreement_changes_nothing_and_compiles(capfd):
    step, given = build(dtype=torch.bfloat16), batch()
    model = step.model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    compiled = step.start(model, given)
    assert step.started and compiled is not model and not hasattr(model, "_orig_mod")
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    outputs = []
    for function in (model, compiled):
        torch.manual_seed(3)
        outputs.append(function(given["image"])["logits"])
    assert torch.equal(*outputs)
    assert [id(p) for p in compiled.parameters()] == [id(p) for p in model.parameters()]
    assert [id(b) for b in compiled.buffers()] == [id(b) for b in model.buffers()]


def test_steps_alike_are_not_reported_and_others_are(monkeypatch):
    step, said = build(), []
    log = compiling.get_logger()
    monkeypatch.setattr(log, "warning", said.append)
    compiled = step.start(step.model, batch())
    compiled(batch()["image"])
    step.report()
    assert said == []
    compiled(batch(16)["image"])
    step.report()
    step.report()
    assert len(said) == 1 and "compiled again" in said[0]


def test_wrong_code_is_not_used(monkeypatch):
    step, said = build(wrong), []
    monkeypatch.setattr(compiling.get_logger(), "warning", said.append)
    assert step.start(step.model, batch()) is step.model
    assert len(said) == 1 and "logits are off by 1.0e-02" in said[0] and "goes on without it" in said[0]
    step.report()
    assert len(said) == 1


def test_a_wrapper_stays_and_calls_the_compiled_model():
    step = build()
    wrapper = nn.Module()
    wrapper.module = step.model
    assert step.start(wrapper, batch()) is wrapper
    assert wrapper.module is not step.model and wrapper.module._orig_mod is step.model


def test_a_compiler_that_does_not_work():
    def broken(graph, inputs):
        raise RuntimeError("no working compiler found")

    step = build(broken)
    with pytest.raises(EnvironmentFault, match="--compile: .*no working compiler.*leave --compile out"):
        step.start(step.model, batch())


def test_nan_is_no_agreement():
    values = Pass(torch.tensor([1.0, 2.0]), [torch.tensor([1.0])])
    assert describe_difference(values, values) is None
    assert describe_difference(values._replace(gradients=[torch.tensor([1.01])]), values)
    broken = values._replace(logits=torch.tensor([1.0, float("nan")]))
    assert describe_difference(broken, values) and describe_difference(broken, broken)


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.skipif(" " in torch.__file__, reason="PyTorch gives its own path to the compiler without quotes")
def test_the_real_compiler():
    step = build("inductor")
    assert step.start(step.model, batch()) is not step.model
