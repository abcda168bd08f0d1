"""What holds for each criterion: upsampling inside, nothing labelled, half precision, shapes."""

import pytest
import torch
import torch.nn.functional as F

from loss import BoundaryLoss, CrossEntropy, ImageWeightedCrossEntropy, OhemCrossEntropy, RelaxedBoundaryLoss
from loss.pixelwise import gathered_cross_entropy, pixel_cross_entropy
from tests.golden_vectors import vectors

CLASSES = 5
CRITERIA = {
    "ce": CrossEntropy(),
    "ohem": OhemCrossEntropy(0.3, 200),
    "ohem_all": OhemCrossEntropy(0.7, 0),
    "image_weighted": ImageWeightedCrossEntropy(CLASSES),
    "image_weighted_batch": ImageWeightedCrossEntropy(CLASSES, batch_weighting=True),
    "relaxed_boundary": RelaxedBoundaryLoss(CLASSES, border=2, strict_classes=(1,)),
    "boundary": BoundaryLoss(),
}
each_criterion = pytest.mark.parametrize("name", CRITERIA)


def scores(name: str, size: int, seed: int = 0, scale: float = 2.0) -> torch.Tensor:
    """Logits, or probabilities for the boundary head, (2,C,size,size) float64."""
    channels = 1 if name == "boundary" else CLASSES
    values = torch.from_numpy(vectors.logits(2, channels, size, size, seed, scale))
    return (values.sigmoid() if name == "boundary" else values).requires_grad_()


def labels(size: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(vectors.labels(2, size, size, seed, classes=CLASSES))


@each_criterion
def test_logits_at_stride_4_are_upsampled_inside(name):
    small = scores(name, 8)
    large = F.interpolate(small, size=(32, 32), mode="bilinear", align_corners=True)
    inside, outside = CRITERIA[name](small, labels(32)), CRITERIA[name](large, labels(32))
    assert inside.item() > 0
    torch.testing.assert_close(inside, outside)
    torch.testing.assert_close(*(torch.autograd.grad(loss, small)[0] for loss in (inside, outside)))


@each_criterion
def test_nothing_labelled_gives_zero_with_a_zero_gradient(name):
    logits = scores(name, 8)
    with torch.autograd.set_detect_anomaly(True):  # no NaN on the way either
        loss = CRITERIA[name](logits, torch.full((2, 32, 32), 255))
        loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@each_criterion
def test_one_image_without_labels_does_not_spoil_the_batch(name):
    logits, target = scores(name, 16), labels(16)
    target[1] = 255
    loss = CRITERIA[name](logits, target)
    loss.backward()
    assert loss.item() > 0
    assert logits.grad.isfinite().all()
    assert logits.grad[0].any() and not logits.grad[1].any()


@each_criterion
def test_half_precision_is_computed_in_float32(name):
    half = scores(name, 8).detach().bfloat16()
    loss = CRITERIA[name](half, labels(32))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(CRITERIA[name](half.float(), labels(32)).item(), rel=2e-6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(loss, CRITERIA[name](half, labels(32)))


@each_criterion
def test_broken_logits_show_in_the_loss(name):
    logits = scores(name, 16).detach().clone()
    logits[:, :, 3, 3] = torch.nan
    for given in (logits, logits.bfloat16()):
        assert CRITERIA[name](given, labels(16).clamp(max=CLASSES - 1)).isnan()


@each_criterion
def test_wrong_shapes_are_named(name):
    with pytest.raises(ValueError, match=r"\(2, 32\)"):
        CRITERIA[name](scores(name, 8), torch.zeros(2, 32, dtype=torch.int64))


def test_cross_entropy_is_the_mean_over_labelled_pixels():
    logits, target = scores("ce", 32), labels(32)
    expected = F.cross_entropy(logits, target, ignore_index=255)
    assert CrossEntropy()(logits, target).item() == pytest.approx(expected.item(), rel=1e-12)
    ignoring_class_2 = F.cross_entropy(logits, target.where(target != 255, 2), ignore_index=2)
    assert CrossEntropy(2)(logits, target.where(target != 255, 2)).item() == pytest.approx(ignoring_class_2.item())


def test_the_deterministic_cross_entropy_is_the_same():
    logits, target = scores("ce", 32), labels(32)
    fast, gathered = (f(logits, target, 255) for f in (pixel_cross_entropy, gathered_cross_entropy))
    torch.testing.assert_close(gathered, fast, rtol=1e-12, atol=1e-12)
    gradients = [torch.autograd.grad(loss.square().sum(), logits)[0] for loss in (fast, gathered)]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-12)
