"""The moving average of the weights, and its exact resume."""

import copy
import io

import pytest
import torch
from torch import nn

from optimizer import ModelAverage
from utils.errors import CheckpointError

YES, NO = torch.tensor(True), torch.tensor(False)


def build(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))


def drift(model: nn.Module, seed: int) -> None:
    """Move parameters and running statistics as a training step would."""
    rng = torch.Generator().manual_seed(seed)
    model(torch.randn(2, 3, 5, 5, generator=rng))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=rng))


def assert_same(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def test_follows_the_formula_with_its_warm_up():
    model = build()
    average = ModelAverage(model, 0.3)
    expected = {name: value.double().clone() for name, value in model.state_dict().items()}
    for n in range(6):
        drift(model, n)
        average.update(model, YES)
        d = min(0.3, (1 + n) / (10 + n))
        for name, value in model.state_dict().items():
            expected[name] = d * expected[name] + (1 - d) * value.double()
    for name, value in average.shadow.items():
        if name.endswith("num_batches_tracked"):
            assert value.item() == 6
        else:
            torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-6)
    assert not torch.equal(average.shadow["1.running_mean"], model[1].running_mean)


def test_a_step_that_was_not_applied_moves_nothing():
    model = build()
    average, twin = (ModelAverage(model, 0.9) for _ in range(2))
    for n in range(6):
        drift(model, n)
        average.update(model, YES if n % 2 else NO)
        if n % 2:
            twin.update(model, YES)
    assert average.state_dict()["updates"] == 3
    assert_same(average.shadow, twin.shadow)


def test_goes_on_exactly_after_save_and_load():
    model = build()
    average = ModelAverage(model, 0.9)
    for n in range(3):
        drift(model, n)
        average.update(model, YES)
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "average": average.state_dict()}, file)
    for n in range(3, 6):
        drift(model, n)
        average.update(model, YES)

    file.seek(0)
    saved = torch.load(file, weights_only=True)
    resumed_model = build(seed=1)
    resumed_model.load_state_dict(saved["model"])
    resumed = ModelAverage(resumed_model, 0.9)
    resumed.load_state_dict(saved["average"])
    assert resumed.updates == 3
    loaded = copy.deepcopy(saved["average"]["shadow"])
    for n in range(3, 6):
        drift(resumed_model, n)
        resumed.update(resumed_model, YES)
    assert_same(resumed.shadow, average.shadow)
    assert_same(saved["average"]["shadow"], loaded)


def test_copies_and_lends_the_average():
    model = build()
    average = ModelAverage(model, 0.9)
    drift(model, 0)
    average.update(model, YES)
    own = copy.deepcopy(model.state_dict())
    with pytest.raises(KeyError), average.applied_to(model):
        assert_same(model.state_dict(), average.shadow)
        raise KeyError
    assert_same(model.state_dict(), own)
    other = build(seed=2)
    average.copy_to(other)
    assert_same(other.state_dict(), average.shadow)
    drift(other, 3)
    assert not torch.equal(other.state_dict()["0.weight"], average.shadow["0.weight"])


def test_half_precision_is_averaged_in_float32():
    model = build().bfloat16()
    average = ModelAverage(model, 0.999)
    assert average.shadow["0.weight"].dtype == torch.float32
    for _ in range(100):
        average.update(model, YES)
    start = average.shadow["0.weight"].clone()
    with torch.no_grad():
        model[0].weight.add_(1)
    average.update(model, YES)
    assert (average.shadow["0.weight"] > start).all()
    average.copy_to(model)
    assert model[0].weight.dtype == torch.bfloat16


def test_another_models_state_is_refused_and_changes_nothing():
    average = ModelAverage(build(), 0.9)
    before = copy.deepcopy(average.shadow)
    with pytest.raises(CheckpointError, match="2 names differ, such as 3.bias"):
        average.load_state_dict(ModelAverage(build().append(nn.Conv2d(2, 2, 1)), 0.9).state_dict())
    wider = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 7, 1))
    with pytest.raises(CheckpointError, match=r"2.weight of shape \(7, 4, 1, 1\)"):
        average.load_state_dict(ModelAverage(wider, 0.9).state_dict())
    assert_same(average.shadow, before)
