"""engine/inference/compiled.py: sizes that are compiled, the check of each, and what is left to the model itself."""

import logging

import pytest
import torch

from engine.inference import compiled as compiled_model
from engine.inference.compiled import CompiledModel
from engine.inference.predictor import build_predictor
from network.fusing import fuse_for_inference
from tests.conftest import untrained
from utils.errors import EnvironmentFault
from utils.logging import get_logger


@pytest.fixture
def model():
    return fuse_for_inference(untrained("fenet_tiny", 5, channels=8))


@pytest.fixture
def log(caplog, monkeypatch):
    monkeypatch.setattr(get_logger(), "propagate", True)
    caplog.set_level(logging.WARNING)
    return caplog


def counting(calls: list):
    """A backend of torch.compile that runs the graph as it is and notes each call."""

    def backend(graph, inputs):
        def run(*arguments):
            calls.append(1)
            return graph.forward(*arguments)

        return run

    return backend


def wrong(graph, inputs):
    """A backend whose kernels err."""
    return lambda *arguments: [output * 1.01 for output in graph.forward(*arguments)]


def broken(graph, inputs):
    raise RuntimeError("no C++ compiler")


def test_the_compiled_model_is_what_runs(model):
    calls, images = [], torch.randn(1, 3, 64, 96)
    run = CompiledModel(model, backend=counting(calls))
    scores = build_predictor(run, merge="logit")(images)
    assert torch.allclose(scores, build_predictor(model, merge="logit")(images), atol=1e-5)
    checked = len(calls)
    build_predictor(run)(images)
    assert 0 < checked < len(calls)
    assert run.encoder is model.encoder and run.config == model.config


def test_kernels_that_err_are_not_used(model, log):
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        run = CompiledModel(model, backend=wrong)
        assert torch.equal(run(images)["logits"], model(images)["logits"])
        assert "1.0e-02 of the largest" in log.text and "64x64" in log.text
        allowed = CompiledModel(model, reduced=True, backend=wrong)
        assert torch.allclose(allowed(images)["logits"], 1.01 * model(images)["logits"])


def test_sizes_beyond_the_limit_are_left_to_the_model(model, log, monkeypatch):
    monkeypatch.setattr(compiled_model, "SIZES", 1)
    calls = []
    run = CompiledModel(model, backend=counting(calls))
    with torch.no_grad():
        run(torch.randn(1, 3, 64, 64))
        before, larger = len(calls), torch.randn(1, 3, 64, 96)
        assert torch.equal(run(larger)["logits"], model(larger)["logits"]) and len(calls) == before
    assert "64x96" in log.text


def test_a_machine_that_cannot_compile(model):
    with torch.no_grad(), pytest.raises(EnvironmentFault, match="--compile: .*C\\+\\+ compiler"):
        CompiledModel(model, backend=broken)(torch.randn(1, 3, 64, 64))
