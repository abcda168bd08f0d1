"""The learning rate's factor over a run."""

import pytest
import torch

from optimizer import SCHEDULES, LrSchedule, OptimizerOptions, build_optimizer, set_lr
from tests.golden_vectors import load


def lr_factor(step, total, switch_off=None, **options):
    return LrSchedule(OptimizerOptions(**options), switch_off)(step, total)


@pytest.mark.parametrize("row", load("losses")["poly"])
def test_reference_figures(row):
    factor = lr_factor(row["epoch"], row["max_epoch"], poly_exp=row["poly_exp"])
    assert factor == pytest.approx(row["factor"], rel=1e-12)


@pytest.mark.parametrize("schedule", list(SCHEDULES))
@pytest.mark.parametrize("switch_off", [None, 0.0, 0.25, 1.0])
@pytest.mark.parametrize("total", [1, 8, 100])
def test_starts_in_full_and_the_last_step_still_learns(schedule, switch_off, total):
    assert lr_factor(0, total, switch_off, lr_schedule=schedule) == 1.0
    assert 0 < lr_factor(total - 1, total, switch_off, lr_schedule=schedule) <= 1.0


def test_scaled_poly_restarts_where_relaxation_ends():
    options = {"lr_schedule": "scl-poly", "poly_exp": 0.9, "repoly": 1.5, "rescale": 0.8}
    assert lr_factor(19, 100, 0.25, **options) == pytest.approx((1 - 0.19) ** 0.9)
    assert lr_factor(25, 100, 0.25, **options) == pytest.approx(0.8)
    assert lr_factor(70, 100, 0.25, **options) == pytest.approx(0.8 * (1 - 0.45 / 0.75) ** 1.5)
    assert lr_factor(70, 100, None, **options) == pytest.approx(0.3**0.9)
    assert lr_factor(70, 100, 0.25, **{**options, "lr_schedule": "poly"}) == pytest.approx(0.3**0.9)


def test_cosine_is_half_a_period():
    factors = [lr_factor(step, 4, lr_schedule="cosine") for step in range(4)]
    assert factors == pytest.approx([1, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2])


def test_warm_up_is_a_ramp_on_top_of_the_schedule():
    for step in range(20):
        expected = min(1.0, (step + 1) / 5) * (1 - step / 20)
        assert lr_factor(step, 20, warmup_steps=5) == pytest.approx(expected)


@pytest.mark.parametrize("step", [-1, 10, 11])
def test_steps_outside_the_horizon_are_refused(step):
    with pytest.raises(ValueError, match=f"step {step} .*10 steps"):
        lr_factor(step, 10)


def test_set_lr_scales_the_base_rate_and_not_the_last_one():
    model, options = torch.nn.Conv2d(1, 1, 1), OptimizerOptions(lr=0.2, no_decay_norm_bias=True)
    optimizer = build_optimizer(model, options)
    for factor in (0.5, 0.25, 1.0):
        set_lr(optimizer, factor)
        assert [group["lr"] for group in optimizer.param_groups] == [0.2 * factor] * 2
    set_lr(optimizer, 0.5)
    restored = build_optimizer(model, options)
    restored.load_state_dict(optimizer.state_dict())
    set_lr(restored, 0.1)
    assert restored.param_groups[0]["lr"] == pytest.approx(0.02)
