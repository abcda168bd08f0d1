"""The criterion of a training step, and the registry that builds it."""

import pytest
import torch

from loss import (
    BoundaryLoss,
    CrossEntropy,
    ImageWeightedCrossEntropy,
    OhemCrossEntropy,
    RelaxedBoundaryLoss,
    build_loss,
    list_losses,
)
from tests.golden_vectors import vectors
from utils.errors import OptionError


@pytest.fixture
def outputs():
    heads = [torch.from_numpy(vectors.logits(1, 4, 8, 8, seed, 1.0)) for seed in range(3)]
    return {"logits": heads[0], "aux": heads[1:], "boundary": heads[0][:, :1].sigmoid()}


@pytest.fixture
def labels():
    return torch.from_numpy(vectors.labels(1, 32, 32, 0, classes=4))


def test_terms_add_up_to_the_total(outputs, labels):
    terms = build_loss("ohem", 4, min_kept=100, aux_weight=0.5, boundary_weight=3.0)(outputs, labels)
    one = OhemCrossEntropy(0.7, 100)
    assert terms["main"].item() == one(outputs["logits"], labels).item()
    assert terms["aux"].item() == pytest.approx(0.5 * sum(one(aux, labels).item() for aux in outputs["aux"]))
    assert terms["boundary"].item() == pytest.approx(3 * BoundaryLoss()(outputs["boundary"], labels).item())
    assert terms["total"].item() == pytest.approx(sum(terms[k].item() for k in ("main", "aux", "boundary")))
    assert list(terms) == ["main", "aux", "boundary", "total"]


def test_a_term_is_there_only_where_the_model_has_its_head(outputs, labels):
    terms = build_loss("ce", 4)({"logits": outputs["logits"], "aux": []}, labels)
    assert list(terms) == ["main", "total"]
    assert terms["main"].item() == terms["total"].item()
    assert "boundary" not in build_loss("ce", 4, boundary_weight=0.0)(outputs, labels)


@pytest.mark.parametrize(("hard_name", "hard"), [("ce", CrossEntropy), ("ohem", OhemCrossEntropy)])
def test_relaxation_switches_off(hard_name, hard, outputs, labels):
    criterion = build_loss("relaxed_boundary", 4, rlx_off_epoch=2, hard_name=hard_name, min_kept=50, thresh=0.4)
    classes, losses = [], []
    for epoch in range(4):
        criterion.set_progress(epoch)
        classes.append(type(criterion.active))
        losses.append(criterion(outputs, labels)["main"].item())
    assert classes == [RelaxedBoundaryLoss] * 2 + [hard] * 2
    expected = CrossEntropy() if hard_name == "ce" else OhemCrossEntropy(0.4, 50)
    assert losses[2] == expected(outputs["logits"], labels).item() != losses[1]
    criterion.set_progress(1)
    assert criterion(outputs, labels)["main"].item() == losses[1]


@pytest.mark.parametrize("name", ["relaxed_boundary", "ohem"])
def test_without_an_epoch_nothing_switches_off(name):
    criterion = build_loss(name, 4)
    criterion.set_progress(10**6)
    assert criterion.active is criterion.criterion


def test_the_options_reach_their_criteria():
    assert list_losses() == ["ce", "image_weighted", "ohem", "relaxed_boundary"]
    assert build_loss("ce", 4, 11).criterion.ignore_label == 11
    ohem = build_loss("ohem", 4, 11, thresh=0.5, min_kept=7).criterion
    assert (ohem.thresh, ohem.min_kept, ohem.ignore_label) == (0.5, 7, 11)
    weighted = build_loss("image_weighted", 4, 11, upper_bound=2.0, batch_weighting=True).criterion
    assert isinstance(weighted, ImageWeightedCrossEntropy)
    assert (weighted.num_classes, weighted.ignore_label, weighted.upper_bound) == (4, 11, 2.0)
    assert weighted.batch_weighting
    relaxed = build_loss("relaxed_boundary", 4, 11, border=3, upper_bound=2.0, strict_classes=(1, 2)).criterion
    assert (relaxed.num_classes, relaxed.ignore_label, relaxed.upper_bound) == (4, 11, 2.0)
    assert (relaxed.border, relaxed.strict_classes) == (3, (1, 2))


def test_unknown_names_are_answered_with_the_choices():
    with pytest.raises(OptionError, match="'focal'.*ce, image_weighted, ohem, relaxed_boundary.*--ohem"):
        build_loss("focal", 4)
    with pytest.raises(OptionError, match="'image_weighted'.*ce, ohem"):
        build_loss("relaxed_boundary", 4, hard_name="image_weighted")
