"""The optimizer really is the one that was asked for, and does what its options say."""

import copy

import pytest
import torch
from torch import nn

from optimizer import OptimizerOptions, build_optimizer, list_optimizers, set_lr
from utils.errors import OptionError


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1)).double()


def build(model, lr=0.1, **options):
    return build_optimizer(model, OptimizerOptions(lr=lr, **options))


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
    optimizer = build(model, optimizer=name, lr=0.02, momentum=0.8, weight_decay=1e-3)
    assert type(optimizer) is kind
    assert name in list_optimizers()
    (group,) = optimizer.param_groups
    assert (group["lr"], group["initial_lr"], group["weight_decay"]) == (0.02, 0.02, 1e-3)
    assert group["params"] == list(model.parameters())


def test_sgd_has_momentum_and_decays_every_parameter(model):
    optimizer = build(model, momentum=0.8, weight_decay=0.5)
    assert optimizer.param_groups[0]["momentum"] == 0.8
    for before, gradient, after in zip(*one_step(model, optimizer), strict=True):
        torch.testing.assert_close(after, before - 0.1 * (gradient + 0.5 * before))


def test_adamw_decays_apart_from_the_gradient(model):
    before, gradients, after = one_step(model, build(model, optimizer="adamw", weight_decay=0.5))
    for old, gradient, new in zip(before, gradients, after, strict=True):
        torch.testing.assert_close(new, old * (1 - 0.1 * 0.5) - 0.1 * gradient / (gradient.abs() + 1e-8))


def test_adam_decays_through_the_gradient(model):
    before, gradients, after = one_step(model, build(model, optimizer="adam", weight_decay=0.5))
    for old, gradient, new in zip(before, gradients, after, strict=True):
        decayed = gradient + 0.5 * old
        torch.testing.assert_close(new, old - 0.1 * decayed / (decayed.abs() + 1e-8))


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_amsgrad_keeps_the_largest_second_moment(model, name):
    for amsgrad in (True, False):
        optimizer = build(model, optimizer=name, amsgrad=amsgrad)
        one_step(model, optimizer)
        assert ("max_exp_avg_sq" in optimizer.state[model[0].weight]) == amsgrad


@pytest.mark.parametrize(("name", "amsgrad"), [("sgd", False), ("adam", False), ("adam", True), ("adamw", False)])
def test_steps_are_those_of_an_optimizer_that_is_not_fused(model, name, amsgrad):
    results = []
    for fused in (None, True):
        twin = copy.deepcopy(model)
        optimizer = build(
            twin, optimizer=name, momentum=0.8, weight_decay=0.01, amsgrad=amsgrad, no_decay_norm_bias=True
        )
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
    optimizer = build(model, momentum=0.8)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": {}})
    zeros = [optimizer.state[parameter]["momentum_buffer"] for parameter in model.parameters()]
    assert all(not buffer.any() and not buffer.requires_grad for buffer in zeros)
    assert not build(model, momentum=0.0).state


def test_norms_and_biases_may_go_undecayed(model):
    decayed, undecayed = build(model, no_decay_norm_bias=True).param_groups
    assert decayed["params"] == [model[0].weight, model[3].weight]
    assert undecayed["params"] == [model[0].bias, model[1].weight, model[1].bias, model[3].bias]
    assert (decayed["weight_decay"], undecayed["weight_decay"]) == (1e-4, 0.0)
    assert undecayed["initial_lr"] == 0.1


def test_frozen_parameters_are_left_out(model):
    model[0].requires_grad_(False)
    optimizer = build(model, no_decay_norm_bias=True)
    assert {p for group in optimizer.param_groups for p in group["params"]} == set(model[1:].parameters())
    model.requires_grad_(False)
    with pytest.raises(OptionError, match="--freeze_trunk"):
        build(model)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "lamb"}, "--optimizer lamb: .*adam, .*sgd"),
        ({"lr": 0.0}, "--lr 0.0"),
        ({"lr": float("nan")}, "--lr nan"),
        ({"encoder_lr": 0.0}, "--encoder_lr 0.0"),
        ({"lr_decay_by_depth": 1.5}, "--lr_decay_by_depth 1.5"),
        ({"momentum": 1.0}, "--momentum 1.0"),
        ({"weight_decay": -1.0}, "--weight_decay -1.0"),
        ({"ema": 1.0}, "--ema 1.0"),
        ({"amsgrad": True}, "--amsgrad: sgd .*--adam or --adamw"),
        ({"optimizer_args": "nesterov=true"}, "--optimizer_args nesterov=true: --optimizer sgd .*momentum=0.9"),
        ({"optimizer_args": "momentum=fast"}, "--optimizer_args momentum=fast: 'fast' doesn't fit momentum"),
        ({"optimizer_args": "momentum=-1"}, "--optimizer sgd --optimizer_args momentum=-1: .*momentum"),
    ],
)
def test_options_that_cannot_work_are_refused(changes, message):
    with pytest.raises(OptionError, match=message):
        OptimizerOptions(**changes)


def test_its_own_options_win(model):
    assert build(model, optimizer_args="momentum=0.7").param_groups[0]["momentum"] == 0.7


def test_the_encoder_learns_at_rates_of_its_own(model):
    stages = [list(model[0].parameters()), list(model[1].parameters())]
    options = {"lr": 0.1, "encoder_lr": 0.5, "lr_decay_by_depth": 0.25, "no_decay_norm_bias": True}
    optimizer = build_optimizer(model, OptimizerOptions(**options), stages)
    rates = {
        parameter: (group["lr"], group["initial_lr"], group["weight_decay"] > 0)
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert [rates[p][0] for p in model.parameters()] == pytest.approx([0.003125] * 2 + [0.0125] * 2 + [0.1] * 2)
    assert all(now == base for now, base, _ in rates.values())
    assert [rates[p][2] for p in model.parameters()] == [True, False, False, False, True, False]
    assert optimizer.param_groups[0]["lr"] == 0.1  # which the log shows
    set_lr(optimizer, 0.5)
    assert optimizer.param_groups[-1]["lr"] == pytest.approx(0.003125 / 2)
