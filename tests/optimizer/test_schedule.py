"""The learning rate's factor over a run."""

import pytest
import torch

from optimizer import build_optimizer, lr_factor, poly, set_lr
from tests.golden_vectors import load
from utils.errors import OptionError


@pytest.mark.parametrize("row", load("losses")["poly"])
def test_reference_figures(row):
    assert poly(row["epoch"] / row["max_epoch"], row["poly_exp"]) == pytest.approx(row["factor"], rel=1e-12)
    factor = lr_factor(row["epoch"], row["max_epoch"], poly_exp=row["poly_exp"])
    assert factor == pytest.approx(row["factor"], rel=1e-12)


@pytest.mark.parametrize("schedule", ["poly", "scl-poly"])
@pytest.mark.parametrize("switch_off", [None, 0.0, 0.25, 1.0])
@pytest.mark.parametrize("total", [1, 8, 1000])
def test_starts_in_full_and_the_last_step_still_learns(schedule, switch_off, total):
    factors = [lr_factor(step, total, schedule=schedule, switch_off=switch_off) for step in range(total)]
    assert factors[0] == 1.0
    assert 0 < factors[-1] <= factors[0]


def test_scaled_poly_restarts_where_relaxation_ends():
    options = {"schedule": "scl-poly", "poly_exp": 0.9, "repoly": 1.5, "rescale": 0.8, "switch_off": 0.25}
    assert lr_factor(19, 100, **options) == pytest.approx((1 - 0.19) ** 0.9)
    assert lr_factor(25, 100, **options) == pytest.approx(0.8)
    assert lr_factor(70, 100, **options) == pytest.approx(0.8 * (1 - 0.45 / 0.75) ** 1.5)
    never = {**options, "switch_off": None}
    assert lr_factor(70, 100, **never) == pytest.approx(0.3**0.9)
    assert lr_factor(70, 100, **{**options, "schedule": "poly"}) == pytest.approx(0.3**0.9)


def test_warm_up_is_a_ramp_on_top_of_the_schedule():
    for step in range(20):
        expected = min(1.0, (step + 1) / 5) * (1 - step / 20)
        assert lr_factor(step, 20, warmup_steps=5) == pytest.approx(expected)


@pytest.mark.parametrize("step", [-1, 10, 11])
def test_steps_outside_the_horizon_are_refused(step):
    with pytest.raises(ValueError, match=f"step {step} .*10 steps"):
        lr_factor(step, 10)


def test_what_cannot_work_is_refused():
    with pytest.raises(OptionError, match="--lr_schedule 'cosine'.*poly, scl-poly"):
        lr_factor(0, 10, schedule="cosine")
    with pytest.raises(ValueError, match="switch_off is -0.5"):
        lr_factor(0, 10, schedule="scl-poly", switch_off=-0.5)


def test_set_lr_scales_the_base_rate_and_not_the_last_one():
    model = torch.nn.Conv2d(1, 1, 1)
    optimizer = build_optimizer(model, "sgd", 0.2, no_decay_norm_bias=True)
    for factor in (0.5, 0.25, 1.0):
        set_lr(optimizer, factor)
        assert [group["lr"] for group in optimizer.param_groups] == [0.2 * factor] * 2
    set_lr(optimizer, 0.5)
    restored = build_optimizer(model, "sgd", 0.2, no_decay_norm_bias=True)
    restored.load_state_dict(optimizer.state_dict())
    set_lr(restored, 0.1)
    assert restored.param_groups[0]["lr"] == pytest.approx(0.02)
