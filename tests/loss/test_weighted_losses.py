"""The per-image criteria against their definitions, pixel by pixel."""

import math

import pytest
import torch

from loss import BoundaryLoss, ImageWeightedCrossEntropy, RelaxedBoundaryLoss
from loss.boundary import inner_boundary
from loss.class_weights import class_weights, count_classes
from tests.golden_vectors import vectors

CLASSES = 4


@pytest.fixture
def batch():
    logits = torch.from_numpy(vectors.logits(2, CLASSES, 9, 11, 3, 2.0))
    return logits, torch.from_numpy(vectors.labels(2, 9, 11, 3, classes=CLASSES, block=3))


def weight_of(counts, c, bound):
    return 1 + bound * (1 - counts[c] / sum(counts)) if counts[c] else 1.0


def test_weights_of_rare_present_and_absent_classes():
    labels = torch.tensor([[[0, 0, 0, 2]], [[1, 1, 1, 1]]])
    counts = count_classes(labels, 4)
    assert counts.tolist() == [[3, 0, 1, 0], [0, 4, 0, 0]]
    weights = class_weights(counts, 0.5, torch.float64)
    assert weights.tolist() == [[1.125, 1.0, 1.375, 1.0], [1.0, 1.0, 1.0, 1.0]]


@pytest.mark.parametrize("batch_weighting", [False, True])
def test_image_weighted_by_its_definition(batch, batch_weighting):
    logits, labels = batch
    log_p, losses = logits.log_softmax(1), []
    for i, image in enumerate(labels):
        source = labels if batch_weighting else image
        counts = [int((source == c).sum()) for c in range(CLASSES)]
        pairs = [
            (weight_of(counts, int(c), 0.5), -log_p[i, int(c), y, x].item())
            for y, row in enumerate(image)
            for x, c in enumerate(row)
            if c != 255
        ]
        losses.append(sum(w * e for w, e in pairs) / sum(w for w, _ in pairs))
    criterion = ImageWeightedCrossEntropy(CLASSES, upper_bound=0.5, batch_weighting=batch_weighting)
    assert criterion(logits, labels).item() == pytest.approx(sum(losses) / 2, rel=1e-10)


def relaxed_sets(image, border, strict):
    height, width = image.shape
    sets = {}
    for y in range(height):
        for x in range(width):
            own = int(image[y, x])
            window = {
                int(image[j, i]) if 0 <= j < height and 0 <= i < width and image[j, i] != 255 else CLASSES
                for j in range(y - border, y + border + 1)
                for i in range(x - border, x + border + 1)
            }
            sets[y, x] = {own} if own in strict else window
    return sets


@pytest.mark.parametrize(("border", "strict"), [(1, ()), (2, (0, 3)), (0, ())])
def test_relaxed_boundary_by_its_definition(batch, border, strict):
    logits, labels = batch
    p, losses = logits.softmax(1), []
    for i, image in enumerate(labels):
        sets = relaxed_sets(image, border, strict)
        counts = [sum(c in m for m in sets.values()) for c in range(CLASSES + 1)]
        real = {place: m - {CLASSES} for place, m in sets.items() if m != {CLASSES}}
        total = 0.0
        for (y, x), m in real.items():
            s = sum(p[i, c, y, x].item() for c in m)
            total -= math.log(s) * sum(weight_of(counts, c, 2.0) for c in m) / len(m)
        losses.append(total / (len(real) + 1))
    criterion = RelaxedBoundaryLoss(CLASSES, border=border, upper_bound=2.0, strict_classes=strict)
    assert criterion(logits, labels).item() == pytest.approx(sum(losses) / 2, rel=1e-10)


def boundary_places(image):
    height, width = image.shape
    neighbours = ((-1, 0), (1, 0), (0, -1), (0, 1))
    return {
        (y, x)
        for y in range(height)
        for x in range(width)
        if any(0 <= y + j < height and 0 <= x + i < width and image[y + j, x + i] != image[y, x] for j, i in neighbours)
    }


@pytest.mark.parametrize("ignore_label", [255, None])
def test_boundary_loss_by_its_definition(batch, ignore_label):
    _, labels = batch
    labels[0, 1] = 255
    probability = torch.from_numpy(vectors.logits(2, 1, 9, 11, 4, 2.0)).sigmoid()
    total, counted = 0.0, 0
    for i, image in enumerate(labels):
        edge = boundary_places(image)
        assert {(y, x) for y, x in inner_boundary(labels)[i].nonzero().tolist()} == edge
        places = [(y, x) for y in range(9) for x in range(11) if image[y, x] != ignore_label]
        share = sum(place in edge for place in places) / len(places)
        for y, x in places:
            p = probability[i, 0, y, x].item()
            total -= (1 - share) * math.log(p) if (y, x) in edge else share * math.log(1 - p)
        counted += len(places)
    assert BoundaryLoss(ignore_label)(probability, labels).item() == pytest.approx(total / counted, rel=1e-10)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_boundary_loss_of_a_saturated_head_is_finite(value):
    probability = torch.full((1, 1, 4, 4), value, dtype=torch.float16, requires_grad=True)
    labels = torch.tensor([[[0, 1, 1, 1]] * 4])
    loss = BoundaryLoss()(probability, labels)
    loss.backward()
    assert 0 < loss.item() < 20
    assert probability.grad.isfinite().all()


def test_options_that_cannot_work_are_refused():
    with pytest.raises(ValueError, match=r"strict class 4 is not one of 0\.\.3"):
        RelaxedBoundaryLoss(CLASSES, strict_classes=(4,))
    with pytest.raises(ValueError, match="border is -1"):
        RelaxedBoundaryLoss(CLASSES, border=-1)
    for criterion in (RelaxedBoundaryLoss, ImageWeightedCrossEntropy):
        with pytest.raises(ValueError, match="upper_bound is -"):
            criterion(CLASSES, upper_bound=-1.0)
