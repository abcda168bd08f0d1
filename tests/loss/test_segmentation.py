"""The criterion of a training step, and the registry that builds it."""

import pytest
import torch

from loss import (
    BoundaryLoss,
    CrossEntropy,
    ImageWeightedCrossEntropy,
    LossOptions,
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


def build(ignore_label=255, **options):
    return build_loss(LossOptions(**options), 4, ignore_label)


def test_terms_add_up_to_the_total(outputs, labels):
    terms = build(ohem=True, ohem_min_kept=100, aux_weight=0.5, boundary_weight=3.0)(outputs, labels)
    one = OhemCrossEntropy(0.7, 100)
    assert terms["main"].item() == one(outputs["logits"], labels).item()
    assert terms["aux"].item() == pytest.approx(0.5 * sum(one(aux, labels).item() for aux in outputs["aux"]))
    assert terms["boundary"].item() == pytest.approx(3 * BoundaryLoss()(outputs["boundary"], labels).item())
    assert terms["total"].item() == pytest.approx(sum(terms[k].item() for k in ("main", "aux", "boundary")))
    assert list(terms) == ["main", "aux", "boundary", "total"]


def test_a_term_is_there_only_where_the_model_has_its_head(outputs, labels):
    terms = build()({"logits": outputs["logits"], "aux": []}, labels)
    assert list(terms) == ["main", "total"]
    assert terms["main"].item() == terms["total"].item()
    assert "boundary" not in build(boundary_weight=0.0)(outputs, labels)


@pytest.mark.parametrize(("hard_name", "hard"), [("ce", CrossEntropy), ("ohem", OhemCrossEntropy)])
def test_relaxation_switches_off(hard_name, hard, outputs, labels):
    criterion = build(jointwtborder=True, rlx_off_epoch=2, ohem=hard_name == "ohem", ohem_min_kept=50, ohem_thresh=0.4)
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
    criterion = build(loss=name)
    criterion.set_progress(10**6)
    assert criterion.active is criterion.criterion


@pytest.mark.parametrize(
    "options",
    [
        {"ohem": True, "ohem_thresh": 0.5, "ohem_min_kept": 7},
        {"loss": "ohem", "ohem_thresh": 0.5, "loss_args": "min_kept=7"},
        {"loss": "ohem", "ohem": True, "loss_args": "thresh=0.5,min_kept=7"},
    ],
)
def test_options_of_ohem_reach_it(options):
    criterion = build(11, **options).criterion
    assert isinstance(criterion, OhemCrossEntropy)
    assert (criterion.thresh, criterion.min_kept, criterion.ignore_label) == (0.5, 7, 11)


@pytest.mark.parametrize(
    "options",
    [
        {"img_wt_loss": True, "wt_bound": 2.0, "batch_weighting": True},
        {"loss": "image_weighted", "loss_args": "upper_bound=2,batch_weighting=True"},
    ],
)
def test_options_of_image_weighting_reach_it(options):
    criterion = build(11, **options).criterion
    assert isinstance(criterion, ImageWeightedCrossEntropy)
    assert (criterion.num_classes, criterion.ignore_label, criterion.upper_bound) == (4, 11, 2.0)
    assert criterion.batch_weighting is True


@pytest.mark.parametrize(
    "options",
    [
        {"jointwtborder": True, "wt_bound": 2.0, "strict_bdr_cls": (1, 2), "loss_args": "border=3"},
        {"loss": "relaxed_boundary", "loss_args": "upper_bound=2,strict_classes=1,2,border=3"},
    ],
)
def test_options_of_relaxation_reach_it(options):
    criterion = build(11, **options).criterion
    assert isinstance(criterion, RelaxedBoundaryLoss)
    assert (criterion.num_classes, criterion.ignore_label, criterion.upper_bound) == (4, 11, 2.0)
    assert (criterion.border, criterion.strict_classes) == (3, (1, 2))


def test_plain_cross_entropy_is_the_default():
    assert {"ce", "image_weighted", "ohem", "relaxed_boundary"} <= set(list_losses())
    assert type(build(11).criterion) is CrossEntropy
    assert build(11).criterion.ignore_label == 11


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "none"}, "--loss none: no such loss; choose one of .*image_weighted"),
        ({"ohem_thresh": 70.0}, r"--ohem_thresh 70.0: .*\(0, 1\]"),
        ({"ohem": True, "ohem_thresh": 0.0}, "--ohem_thresh 0.0: "),
        ({"ohem_min_kept": -1}, "--ohem_min_kept -1: "),
        ({"wt_bound": -1.0}, "--wt_bound -1.0: "),
        ({"strict_bdr_cls": (-1,)}, "--strict_bdr_cls .*: strict class -1"),
        ({"aux_weight": -1.0}, "--aux_weight -1.0: "),
        ({"boundary_weight": -1.0}, "--boundary_weight -1.0: "),
        ({"ohem": True, "img_wt_loss": True}, "--img_wt_loss --ohem: .*different losses"),
        ({"jointwtborder": True, "img_wt_loss": True}, "--img_wt_loss --jointwtborder: "),
        ({"loss": "ce", "ohem": True}, "--ohem --loss ce: "),
        ({"loss": "ohem", "jointwtborder": True}, "--jointwtborder --loss ohem: "),
        ({"loss_args": "thresh=0.5"}, "--loss_args thresh=0.5: --loss ce has no such option; .*none"),
        ({"loss": "ohem", "loss_args": "thresh"}, "--loss_args thresh: .*thresh=0.7, min_kept=100000"),
        ({"loss": "ohem", "loss_args": "min_kept=1.5"}, "--loss_args min_kept=1.5: '1.5' doesn't fit min_kept"),
        ({"loss": "ohem", "loss_args": "thresh=70"}, r"--loss_args thresh=70: .*\(0, 1\]"),
        ({"loss": "image_weighted", "loss_args": "batch_weighting=maybe"}, "'maybe' doesn't fit batch_weighting"),
        ({"loss": "ohem", "loss_args": "thresh=0.5", "ohem_thresh": 0.6}, "thresh=0.5 --ohem_thresh 0.6: choose one"),
        ({"loss": "relaxed_boundary", "loss_args": "border=-1"}, "--loss_args border=-1: border is -1"),
    ],
)
def test_what_cannot_work_is_refused(options, message):
    with pytest.raises(OptionError, match=message):
        LossOptions(**options)


def test_a_strict_class_that_the_data_has_not_is_refused():
    with pytest.raises(OptionError, match="relaxed_boundary .*--strict_bdr_cls.*: strict class 4 is not one of 0..3"):
        build(jointwtborder=True, strict_bdr_cls=(4,))


@pytest.mark.parametrize(("name", "flag"), [("ohem", "ohem"), ("image_weighted", "img_wt_loss")])
def test_both_spellings_are_one_setting(name, flag):
    assert LossOptions(loss=name) == LossOptions(**{flag: True})
    assert LossOptions(loss="relaxed_boundary", ohem=True) == LossOptions(jointwtborder=True, ohem=True)
