"""Compiled models and steps: the comparison with the eager ones, what it leaves alone, and what runs where it fails."""

import shutil

import pytest
import torch
from torch import nn

from engine.inference import compile as compiling
from engine.inference.compile import CompiledModel, CompiledStep, Pass, describe_difference
from engine.inference.predictor import build_predictor
from network import synchronise_norms
from network.fusing import fuse_for_inference
from tests.conftest import untrained
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


@pytest.fixture(autouse=True)
def said(monkeypatch) -> list[str]:
    """Warnings so far."""
    torch._dynamo.reset()
    lines = []
    monkeypatch.setattr(compiling.get_logger(), "warning", lines.append)
    return lines


def build(backend="eager", dtype=None) -> CompiledStep:
    torch.manual_seed(0)
    return CompiledStep(Model().train(), Criterion(), dtype, CPU, backend=backend)


def batch(size=8) -> dict:
    return {"image": torch.randn(2, 3, size, size), "label": torch.zeros(2, size, size, dtype=torch.int64)}


def wrong(graph, inputs):
    """A backend whose code is wrong."""
    return lambda *args: tuple(value * 1.01 for value in graph(*args))


def broken(graph, inputs):
    """A backend without a compiler."""
    raise RuntimeError("no working compiler found")


def test_nan_is_no_agreement():
    values = Pass(torch.tensor([1.0, 2.0]), [torch.tensor([1.0])])
    assert describe_difference(values, values) is None
    assert "gradients by 1.0e-02" in describe_difference(values._replace(gradients=[torch.tensor([1.01])]), values)
    broken = values._replace(output=torch.tensor([1.0, float("nan")]))
    assert describe_difference(broken, values)
    assert describe_difference(broken, broken)
    nothing = Pass(torch.zeros(2), [torch.zeros(1)])  # a batch without a labelled pixel
    assert describe_difference(nothing, nothing) is None


def test_a_criterion_s_part_is_compiled_for_each_of_many_heads(monkeypatch):
    monkeypatch.setattr(torch._dynamo.config, "recompile_limit", torch._dynamo.config.recompile_limit)
    step, sizes = build(), range(1, 17)
    step.start(step.model, batch())
    part, stats = step._compile(nn.CrossEntropyLoss()), torch._dynamo.utils.counters["stats"]
    before = stats["unique_graphs"]
    for size in sizes:
        part(torch.randn(1, 2, size, size), torch.zeros(1, size, size, dtype=torch.int64))
    assert stats["unique_graphs"] - before == len(sizes)


def test_a_step_that_agrees_is_compiled_and_changes_nothing(said):
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
    assert torch.backends.cudnn.allow_tf32
    outputs = []
    for function in (model, compiled):
        torch.manual_seed(3)
        outputs.append(function(given["image"])["logits"])
    assert torch.equal(*outputs)
    assert [id(p) for p in compiled.parameters()] == [id(p) for p in model.parameters()]
    assert [id(b) for b in compiled.buffers()] == [id(b) for b in model.buffers()]
    assert said == []


def test_steps_alike_are_not_reported_and_others_are(said):
    step = build()
    compiled = step.start(step.model, batch())
    compiled(batch()["image"])
    step.report()
    assert said == []
    compiled(batch(16)["image"])
    step.report()
    step.report()
    assert len(said) == 1 and "compiled again" in said[0]


@pytest.mark.parametrize(("backend", "reason"), [(wrong, "off by 2.0e-02"), (broken, "no working compiler found")])
def test_steps_go_on_without_code_that_is_wrong_or_missing(backend, reason, said):
    step = build(backend)
    buffers = [buffer.clone() for buffer in step.model.buffers()]
    assert step.start(step.model, batch()) is step.model
    step.report()
    assert len(said) == 1
    assert said[0].startswith("--compile: ") and reason in said[0] and "goes on without it" in said[0]
    assert all(map(torch.equal, step.model.buffers(), buffers))


def test_a_fault_on_another_process_is_a_fault(said, monkeypatch):
    monkeypatch.setattr(compiling, "any_rank", lambda flag: True)
    step = build()
    assert step.start(step.model, batch()) is step.model
    assert "another process" in said[0]


def test_the_teacher_s_maps_take_part_in_the_comparison(said):
    class Taught(Criterion):
        def forward(self, outputs, labels):
            return {"total": super().forward(outputs, labels)["total"] + outputs["teacher"].sum()}

    step = build()
    step.criterion = Taught()
    assert step.start(step.model, batch() | {"teacher": torch.ones(2)}) is not step.model
    assert said == []


def test_with_norms_that_wait_for_each_other_a_missing_compiler_is_found_before_they_do(said):
    step = build(broken)
    synchronise_norms(step.model)  # there are no other processes: it can't be called
    assert step.start(step.model, batch()) is step.model
    assert len(said) == 1 and "no working compiler found" in said[0]


def test_with_norms_that_wait_for_each_other_a_later_failure_ends_the_job(monkeypatch):
    def run_out(*_):
        raise MemoryError("nothing left")

    step = build()
    synchronise_norms(step.model)
    monkeypatch.setattr(step, "_compare", run_out)
    with pytest.raises(EnvironmentFault, match="nothing left.*leave --compile out"):
        step.start(step.model, batch())


def test_a_wrapper_stays_and_calls_the_compiled_model():
    step = build()
    wrapper = nn.Module()
    wrapper.module = step.model
    assert step.start(wrapper, batch()) is wrapper
    assert wrapper.module is not step.model and wrapper.module._orig_mod is step.model


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.skipif(" " in torch.__file__, reason="PyTorch gives its own path to the compiler without quotes")
def test_the_real_compiler():
    step = build("inductor")
    assert step.start(step.model, batch()) is not step.model


@pytest.fixture
def model():
    torch.manual_seed(0)
    with torch.no_grad():
        yield Model().eval()


class Counted:
    """A backend that runs the graph as it is and counts the runs."""

    def __init__(self):
        self.runs = 0

    def __call__(self, graph, inputs):
        def run(*arguments):
            self.runs += 1
            return graph.forward(*arguments)

        return run


def test_the_compiled_model_is_what_predicts():
    model = fuse_for_inference(untrained("fenet_tiny", 5, channels=8))
    backend, images = Counted(), torch.randn(1, 3, 64, 96)
    run = CompiledModel(model, backend=backend)
    scores = build_predictor(run, merge="logit")(images)
    torch.testing.assert_close(scores, build_predictor(model, merge="logit")(images), atol=1e-5, rtol=0)
    checked = backend.runs
    build_predictor(run)(images)
    assert 0 < checked < backend.runs
    assert run.encoder is model.encoder and run.config == model.config


@pytest.mark.parametrize(("backend", "reason"), [(wrong, "off by 1.0e-02"), (broken, "no working compiler found")])
def test_images_are_predicted_without_code_that_is_wrong_or_missing(model, backend, reason, said):
    images, run = torch.randn(1, 3, 64, 64), CompiledModel(model, backend=backend)
    for _ in range(2):
        assert torch.equal(run(images)["logits"], model(images)["logits"])
    assert len(said) == 1
    assert reason in said[0] and "64x64" in said[0]


def test_reduced_precision_may_differ_more(model, said):
    images, run = torch.randn(1, 3, 64, 64), CompiledModel(model, reduced=True, backend=wrong)
    torch.testing.assert_close(run(images)["logits"], 1.01 * model(images)["logits"])
    assert said == []


def test_sizes_beyond_the_limit_are_left_to_the_model(model, said, monkeypatch):
    monkeypatch.setattr(compiling, "SIZES", 1)
    backend, larger = Counted(), torch.randn(1, 3, 64, 96)
    run = CompiledModel(model, backend=backend)
    run(torch.randn(1, 3, 64, 64))
    before = backend.runs
    assert torch.equal(run(larger)["logits"], model(larger)["logits"])
    assert backend.runs == before
    assert "64x96" in said[0]
