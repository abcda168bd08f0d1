"""What holds for the loss in Triton; `test_fused.py` runs this file."""

import logging
import math

import pytest
import torch

from loss import CrossEntropy, LossOptions, OhemCrossEntropy, build_loss
from loss.triton.criteria import TritonCrossEntropy, TritonOhemCrossEntropy
from loss.triton.fused import takes
from reference.loss import PlainOhemCrossEntropy
from tests.interpreted import DEVICE


def result(criterion, logits, labels):
    """Loss and gradient of the logits, on the CPU."""
    leaf = logits.detach().requires_grad_()
    loss = 3 * criterion(leaf, labels)
    loss.backward()
    return loss.detach().cpu(), leaf.grad.cpu()


def batch(n, classes, source, size, ignored, seed=0):
    random = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n, classes, *source, generator=random)
    labels = torch.randint(0, classes, (n, *size), generator=random)
    labels[torch.rand(n, *size, generator=random) < ignored] = 255
    return logits.to(DEVICE), labels.to(DEVICE)


def assert_close(found, expected):
    (loss, gradient), (expected_loss, expected_gradient) = found, expected
    assert loss.item() == pytest.approx(expected_loss.item(), rel=1e-5, abs=1e-7)
    scale = expected_gradient.abs().max()
    assert (gradient - expected_gradient).abs().max() <= 1e-5 * scale + 1e-9


CASES = {  # images, classes, logits, labels, share of ignored labels, min_kept
    "stride 4": (2, 3, (2, 3), (8, 12), 0.2, 40),
    "odd": (1, 5, (3, 5), (7, 11), 0.2, 30),
    "stride 1": (1, 4, (5, 6), (5, 6), 0.1, 10),
    "one class": (1, 1, (2, 2), (5, 5), 0.0, 3),
    "many classes": (1, 256, (1, 2), (2, 3), 0.0, 3),
    "one row of logits": (1, 3, (1, 2), (3, 5), 0.0, 3),
    "smaller labels": (1, 3, (5, 4), (2, 1), 0.0, 1),
    "all kept": (1, 3, (2, 3), (5, 7), 0.3, 0),
    "fewer labelled than min_kept": (1, 3, (2, 3), (5, 7), 0.9, 20),
    "fewer pixels than min_kept": (1, 3, (2, 3), (5, 7), 0.3, 100),
    "nothing labelled": (1, 3, (2, 3), (5, 7), 1.0, 5),
}


@pytest.mark.parametrize("case", CASES)
def test_ohem_equals_the_torch_path_and_the_plain_formulation(case):
    *sizes, min_kept = CASES[case]
    logits, labels = batch(*sizes)
    assert takes(logits, labels)
    found = result(TritonOhemCrossEntropy(0.3, min_kept), logits, labels)
    for reference in (OhemCrossEntropy, PlainOhemCrossEntropy):
        assert_close(found, result(reference(0.3, min_kept), logits, labels))
    if case == "nothing labelled":
        assert found[0].item() == 0 and not found[1].any()


def test_cross_entropy_in_both_layouts_and_without_a_gradient():
    logits, labels = batch(1, 20, (3, 2), (7, 5), 0.2)
    expected = result(CrossEntropy(), logits, labels)
    assert_close(result(TritonCrossEntropy(), logits, labels), expected)
    last = logits.contiguous(memory_format=torch.channels_last)
    assert_close(result(TritonCrossEntropy(), last, labels), expected)
    assert_close(result(TritonCrossEntropy(), torch.cat([logits, logits], 1)[:, :20], labels), expected)
    assert not TritonCrossEntropy()(logits, labels).requires_grad


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_float32(dtype):
    logits, labels = batch(1, 4, (2, 3), (6, 7), 0.1)
    loss, gradient = result(TritonOhemCrossEntropy(0.5, 20), logits.to(dtype), labels)
    expected, expected_gradient = result(OhemCrossEntropy(0.5, 20), logits.to(dtype), labels)
    assert loss.dtype == torch.float32 and gradient.dtype == dtype
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-2, atol=1e-5)


def test_other_ignored_labels_and_labels_without_a_class():
    logits, labels = batch(1, 4, (2, 3), (5, 7), 0.0)
    assert_close(result(TritonCrossEntropy(2), logits, labels), result(CrossEntropy(2), logits, labels))
    labels[0, 0, 0] = 4
    assert TritonCrossEntropy()(logits, labels).isnan()


def test_a_nan_is_never_mined_away_and_an_ignored_one_does_no_harm():
    logits, labels = batch(1, 3, (3, 3), (9, 9), 0.0)
    logits[0, 0, 0, 0] = math.nan
    assert TritonOhemCrossEntropy(0.7, 1)(logits, labels).isnan()
    labels[0, :4, :4] = 255  # all that read it
    loss, gradient = result(TritonOhemCrossEntropy(0.7, 1), logits, labels)
    assert loss.isfinite() and gradient.isfinite().all()


def test_two_runs_are_equal():
    logits, labels = batch(1, 3, (3, 3), (9, 9), 0.1)
    first, second = (result(TritonOhemCrossEntropy(0.7, 9), logits, labels) for _ in range(2))
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])


def test_what_the_kernels_do_not_take_is_torch_s_and_said_once(caplog):
    logits, labels = batch(1, 3, (2, 2), (4, 4), 0.0)
    criterion = TritonOhemCrossEntropy(0.7, 5)
    assert not takes(logits.double(), labels)
    with caplog.at_level(logging.INFO, "fenet"):
        for _ in range(2):
            assert criterion(logits.double(), labels) == OhemCrossEntropy(0.7, 5)(logits.double(), labels)
    (record,) = caplog.records
    assert "--kernels triton" in record.message and "float64" in record.message


def test_build_loss_builds_them():
    assert isinstance(build_loss(LossOptions(loss="ohem"), 3, kernels="triton").criterion, TritonOhemCrossEntropy)
    relaxed = build_loss(LossOptions(jointwtborder=True, rlx_off_epoch=1), 3, kernels="triton")
    assert isinstance(relaxed.hard, TritonCrossEntropy)
    assert not isinstance(build_loss(LossOptions(), 3).criterion, TritonCrossEntropy)
