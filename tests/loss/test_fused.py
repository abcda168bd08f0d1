"""The strip-wise operation against the plain one."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import loss.fused
from loss import CrossEntropy, OhemCrossEntropy
from loss.fused import upsampled_cross_entropy
from reference.loss import PlainOhemCrossEntropy

side = st.integers(1, 12)


def result(criterion, logits, labels):
    leaf = logits.clone().requires_grad_()
    loss = 3 * criterion(leaf, labels)
    loss.backward()
    return loss.detach(), leaf.grad


@settings(max_examples=150, deadline=None)
@given(
    source=st.tuples(side, side),
    size=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    classes=st.integers(1, 5),
    min_kept=st.integers(0, 900),
    ignored=st.sampled_from([0.0, 0.3, 0.95, 1.0]),
    strip=st.sampled_from([1, 3000, 1 << 20]),
    seed=st.integers(0, 2**32 - 1),
)
def test_equals_the_plain_formulation(source, size, classes, min_kept, ignored, strip, seed):
    random = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, classes, *source, dtype=torch.float64, generator=random)
    labels = torch.randint(0, classes, (2, *size), generator=random)
    labels[torch.rand(2, *size, generator=random) < ignored] = 255
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loss.fused, "STRIP_BYTES", strip)
        ours = result(OhemCrossEntropy(0.7, min_kept), logits, labels)
    expected = result(reference(0.7, min_kept), logits, labels)
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-12)


def reference(thresh, min_kept):
    """`PlainOhemCrossEntropy` in float64, with the ties of rounding kept."""

    def criterion(logits, labels):
        logits = F.interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=True)
        valid = labels != 255
        values = F.cross_entropy(logits, labels, ignore_index=255, reduction="none")
        if 0 < min_kept <= int(valid.sum()):
            limit = min(-math.log(thresh), values.detach()[valid].sort(descending=True).values[min_kept - 1].item())
            valid = valid & (values >= limit - 1e-12)
        return values[valid].mean() if valid.any() else 0 * logits.sum()

    return criterion


def test_float32_reaches_the_plain_formulation():
    torch.manual_seed(0)
    logits, labels = 3 * torch.randn(1, 19, 32, 64), torch.randint(0, 19, (1, 128, 256))
    labels[:, :20] = 255
    for min_kept in (1000, 25_000):  # the second one has to select
        loss_value, gradient = result(OhemCrossEntropy(0.3, min_kept), logits, labels)
        expected, expected_gradient = result(PlainOhemCrossEntropy(0.3, min_kept), logits, labels)
        assert loss_value.item() == pytest.approx(expected.item(), rel=1e-5)
        assert (gradient - expected_gradient).abs().max() <= 1e-5 * expected_gradient.abs().max()


def test_all_pixels_and_half_precision():
    logits, labels = torch.randn(2, 4, 5, 6), torch.randint(0, 4, (2, 9, 11))
    full = F.interpolate(logits, size=(9, 11), mode="bilinear", align_corners=True)
    assert CrossEntropy()(logits, labels).item() == pytest.approx(F.cross_entropy(full, labels).item(), rel=1e-5)
    leaf = logits.bfloat16().requires_grad_()
    CrossEntropy()(leaf, labels).backward()
    assert leaf.grad.dtype == torch.bfloat16


def test_a_nan_is_never_mined_away():
    logits = torch.zeros(1, 3, 4, 4)
    logits[0, 0, 0, 0] = math.nan
    assert OhemCrossEntropy(0.7, 1)(logits, torch.zeros(1, 8, 8, dtype=torch.int64)).isnan()


def test_without_a_gradient_none_is_made():
    logits, labels = torch.randn(1, 3, 4, 4), torch.zeros(1, 8, 8, dtype=torch.int64)
    loss_value = upsampled_cross_entropy(logits, labels, 255, 0.5)
    assert not loss_value.requires_grad
