"""The optimizer really is the one that was asked for, and does what its options say."""

import copy

import pytest
import torch
from torch import nn

from optimizer import build_optimizer, list_optimizers
from utils.errors import OptionError


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1)).double()


def one_step(model, optimizer):
    torch.manual_seed(1)
    model(torch.randn(2, 3, 6, 6, dtype=torch.float64)).square().mean().backward()
    before = [p.detach().clone() for p in model.parameters()]
    optimizer.step()
    return before, [p.grad for p in model.parameters()], [p.detach() for p in model.parameters()]


@pytest.mark.parametrize(
    ("name", "kind"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]
)
def test_the_class_is_the_one_asked_for(model, name, kind):
    optimizer = build_optimizer(model, name, 0.02, 0.8, 1e-3)
    assert type(optimizer) is kind
    assert name in list_optimizers()
    (group,) = optimizer.param_groups
    assert (group["lr"], group["initial_lr"], group["weight_decay"]) == (0.02, 0.02, 1e-3)
    assert group["params"] == list(model.parameters())


def test_sgd_has_momentum_and_decays_every_parameter(model):
    optimizer = build_optimizer(model, "sgd", 0.1, 0.8, 0.5)
    assert optimizer.param_groups[0]["momentum"] == 0.8
    for before, gradient, after in zip(*one_step(model, optimizer), strict=True):
        torch.testing.assert_close(after, before - 0.1 * (gradient + 0.5 * before))


def test_adamw_decays_apart_from_the_gradient(model):
    before, gradients, after = one_step(model, build_optimizer(model, "adamw", 0.1, 0.9, 0.5))
    for old, gradient, new in zip(before, gradients, after, strict=True):
        torch.testing.assert_close(new, old * (1 - 0.1 * 0.5) - 0.1 * gradient / (gradient.abs() + 1e-8))


def test_adam_decays_through_the_gradient(model):
    before, gradients, after = one_step(model, build_optimizer(model, "adam", 0.1, 0.9, 0.5))
    for old, gradient, new in zip(before, gradients, after, strict=True):
        decayed = gradient + 0.5 * old
        torch.testing.assert_close(new, old - 0.1 * decayed / (decayed.abs() + 1e-8))


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_amsgrad_keeps_the_largest_second_moment(model, name):
    for amsgrad in (True, False):
        optimizer = build_optimizer(model, name, 0.1, amsgrad=amsgrad)
        one_step(model, optimizer)
        assert ("max_exp_avg_sq" in optimizer.state[model[0].weight]) == amsgrad


@pytest.mark.parametrize(("name", "amsgrad"), [("sgd", False), ("adam", False), ("adam", True), ("adamw", False)])
def test_steps_are_those_of_an_optimizer_that_is_not_fused(model, name, amsgrad):
    results = []
    for fused in (None, True):
        twin = copy.deepcopy(model)
        optimizer = build_optimizer(twin, name, 0.1, 0.8, 0.01, amsgrad, no_decay_norm_bias=True)
        assert all(group["fused"] is True for group in optimizer.param_groups)
        if not fused:
            optimizer.state.clear()
            for group in optimizer.param_groups:
                group["fused"] = None
        for _ in range(3):
            optimizer.zero_grad()
            one_step(twin, optimizer)
        results.append(list(twin.parameters()))
    for plain, other in zip(*results, strict=True):
        torch.testing.assert_close(plain, other, rtol=1e-9, atol=1e-12)


def test_sgd_has_momentum_before_its_first_step_and_after_loading_a_state_without(model):
    optimizer = build_optimizer(model, "sgd", 0.1, 0.8)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": {}})
    zeros = [optimizer.state[parameter]["momentum_buffer"] for parameter in model.parameters()]
    assert all(not buffer.any() and not buffer.requires_grad for buffer in zeros)
    assert not build_optimizer(model, "sgd", 0.1, 0.0).state


def test_norms_and_biases_may_go_undecayed(model):
    decayed, undecayed = build_optimizer(model, "sgd", 0.1, 0.9, 1e-4, no_decay_norm_bias=True).param_groups
    assert decayed["params"] == [model[0].weight, model[3].weight]
    assert undecayed["params"] == [model[0].bias, model[1].weight, model[1].bias, model[3].bias]
    assert (decayed["weight_decay"], undecayed["weight_decay"]) == (1e-4, 0.0)
    assert undecayed["initial_lr"] == 0.1


def test_frozen_parameters_are_left_out(model):
    model[0].requires_grad_(False)
    optimizer = build_optimizer(model, "sgd", 0.1, no_decay_norm_bias=True)
    assert {p for group in optimizer.param_groups for p in group["params"]} == set(model[1:].parameters())
    model.requires_grad_(False)
    with pytest.raises(OptionError, match="--freeze_trunk"):
        build_optimizer(model, "sgd", 0.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "lamb"}, "'lamb'.*adam, adamw, sgd"),
        ({"lr": 0.0}, "--lr 0.0"),
        ({"lr": float("nan")}, "--lr nan"),
        ({"momentum": 1.0}, "--momentum 1.0"),
        ({"weight_decay": -1.0}, "--weight_decay -1.0"),
        ({"amsgrad": True}, "--amsgrad"),
    ],
)
def test_options_that_cannot_work_are_refused(model, changes, message):
    with pytest.raises(OptionError, match=message):
        build_optimizer(model, **{"name": "sgd", "lr": 0.1, **changes})
