"""The three formulations of upsampling with cross entropy against the plain one: strips by lines or products, maps."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import loss.fused
from loss import CrossEntropy, OhemCrossEntropy
from loss.fused import upsampled_cross_entropy
from loss.whole_maps import whole_cross_entropy
from reference.loss import PlainOhemCrossEntropy

side = st.integers(1, 12)


def on_maps(criterion):
    """What a criterion of OHEM is on accelerators."""
    return lambda logits, labels: whole_cross_entropy(logits, labels, criterion.ignore_label, criterion.hard_pixels)


def formulation(name, patch):
    """OHEM's criterion as a function of its options, computed by `lines`, `products` (of any precision) or `maps`."""
    patch.setattr(loss.fused, "HALF", (torch.float64,) if name == "products" else ())
    return (lambda *options: on_maps(OhemCrossEntropy(*options))) if name == "maps" else OhemCrossEntropy


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
    name=st.sampled_from(["lines", "products", "maps"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_equals_the_plain_formulation(source, size, classes, min_kept, ignored, strip, name, seed):
    random = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, classes, *source, dtype=torch.float64, generator=random)
    labels = torch.randint(0, classes, (2, *size), generator=random)
    labels[torch.rand(2, *size, generator=random) < ignored] = 255
    with pytest.MonkeyPatch.context() as patch:
        for walk in (loss.fused, loss.product_strips):
            patch.setattr(walk, "STRIP_BYTES", strip)
        ours = result(formulation(name, patch)(0.7, min_kept), logits, labels)
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


def test_all_pixels():
    logits, labels = torch.randn(2, 4, 5, 6), torch.randint(0, 4, (2, 9, 11))
    full = F.interpolate(logits, size=(9, 11), mode="bilinear", align_corners=True)
    for criterion in (CrossEntropy(), lambda *inputs: whole_cross_entropy(*inputs, 255)):
        assert criterion(logits, labels).item() == pytest.approx(F.cross_entropy(full, labels).item(), rel=1e-5)


@pytest.mark.parametrize("min_kept", [500, 9000])  # the second one has to select
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype, min_kept):
    torch.manual_seed(0)
    labels = torch.randint(0, 7, (2, 65, 91)).where(torch.rand(2, 65, 91) < 0.9, 255)
    logits = (4 * torch.randn(2, 7, 17, 23)).to(dtype).to(memory_format=torch.channels_last)
    expected, gradient = result(reference(0.7, min_kept), logits.double(), labels)
    strips, maps = OhemCrossEntropy(0.7, min_kept), on_maps(OhemCrossEntropy(0.7, min_kept))
    # strips are of float32: what is rounded is the gradient; on maps every pixel's logits are rounded too
    for criterion, off, gradient_off in ((strips, 1e-6, torch.finfo(dtype).eps / 2), (maps, 1e-3, 1e-2)):
        found, ours = result(criterion, logits, labels)
        assert found.dtype == torch.float32 and ours.dtype == dtype
        assert found.item() == pytest.approx(expected.item(), rel=off)
        assert (ours - gradient).norm() <= gradient_off * gradient.norm()


def test_half_precision_of_logits_that_are_far_apart():
    """Between the two pixels e to the power of either class is 0 in float32, if one takes off each pixel's largest."""
    logits = torch.tensor([[0.0, -400.0], [-400.0, 0.0]]).view(1, 2, 1, 2)
    labels = torch.zeros(1, 1, 9, dtype=torch.int64)
    expected, gradient = result(CrossEntropy(), logits.double(), labels)
    found, ours = result(CrossEntropy(), logits.bfloat16(), labels)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(ours.double(), gradient, rtol=1e-2, atol=0)


def test_maps_of_the_labels_size():
    logits, labels = 3 * torch.randn(2, 4, 9, 11, dtype=torch.float64), torch.randint(0, 4, (2, 9, 11))
    ours = result(on_maps(OhemCrossEntropy(0.7, 20)), logits, labels)
    torch.testing.assert_close(ours, result(reference(0.7, 20), logits, labels))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_label_out_of_range_is_an_error(dtype):
    for label in (-1, 3, 254):
        with pytest.raises((IndexError, RuntimeError), match="out of bounds"):
            CrossEntropy()(torch.zeros(1, 3, 4, 4, dtype=dtype), torch.full((1, 8, 8), label))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_nan_is_never_mined_away(dtype):
    logits = torch.zeros(1, 3, 4, 4, dtype=dtype)
    logits[0, 0, 0, 0] = math.nan
    criterion = OhemCrossEntropy(0.7, 1)
    for function in (criterion, on_maps(criterion)):
        assert function(logits, torch.zeros(1, 8, 8, dtype=torch.int64)).isnan()


def test_without_a_gradient_none_is_made():
    logits, labels = torch.randn(1, 3, 4, 4), torch.zeros(1, 8, 8, dtype=torch.int64)
    for scores in (logits, logits.bfloat16(), logits.requires_grad_()):
        with torch.set_grad_enabled(not scores.requires_grad):
            assert not upsampled_cross_entropy(scores, labels, 255, 0.5).requires_grad
            assert not whole_cross_entropy(scores, labels, 255).requires_grad
