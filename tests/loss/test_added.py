"""Dice, Lovász-Softmax and label smoothing against their definitions, and as terms beside a loss."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from loss import LossOptions, build_loss
from loss.dice import DiceLoss
from loss.label_smoothing import LabelSmoothing
from loss.lovasz import LovaszSoftmax
from loss.registry import ADDED
from utils.errors import OptionError


def make_maps(classes=4, size=(9, 11), seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, classes, *size, generator=generator, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, classes - 1, (2, *size), generator=generator)  # the last class is nowhere
    labels[0, :3] = 255
    return logits, labels


def test_dice_by_its_definition():
    logits, labels = make_maps()
    probability, valid = logits.softmax(1), labels != 255
    overlaps = []
    for index in range(3):
        p, g = probability[:, index][valid], (labels[valid] == index).double()
        overlaps.append(2 * (p * g).sum() / ((p**2).sum() + g.sum()))
    assert DiceLoss()(logits, labels).item() == pytest.approx(1 - torch.stack(overlaps).mean().item())


def jaccard_loss(errors: set[int], true: set[int]) -> float:
    """Of the pixels whose prediction of a class is wrong: 1 - intersection / union."""
    return len(errors) / len(true | errors)


def test_lovasz_is_the_lovasz_extension_of_the_jaccard_loss():
    logits, labels = make_maps(classes=3, size=(2, 2), seed=1)
    labels[1] = torch.tensor([[0, 1], [255, 0]])
    probability, flat = logits.softmax(1), labels.flatten().tolist()
    expected = []
    for index in set(flat) - {255}:
        wanted = {i for i, label in enumerate(flat) if label == index}
        score = probability[:, index].flatten().tolist()
        error = {i: 1 - score[i] if i in wanted else score[i] for i, label in enumerate(flat) if label != 255}
        order = sorted(error, key=error.get, reverse=True)
        sets = [set(order[:count]) for count in range(len(order) + 1)]
        steps = [jaccard_loss(b, wanted) - (jaccard_loss(a, wanted) if a else 0) for a, b in itertools.pairwise(sets)]
        expected.append(sum(error[i] * step for i, step in zip(order, steps, strict=True)))
    assert LovaszSoftmax()(logits, labels).item() == pytest.approx(sum(expected) / len(expected))


def test_lovasz_of_counted_errors_is_that_of_sorted_ones():
    logits, labels = make_maps(size=(64, 64))
    loss = LovaszSoftmax()(logits, labels)
    found, sorted_terms = torch.autograd.grad(loss, logits)[0], []
    for index, of_class in enumerate(logits.softmax(1).unbind(1)[:3]):
        errors, order = ((labels == index).double() - of_class).abs()[labels != 255].sort(descending=True)
        true = (labels == index)[labels != 255][order].double()
        jaccard = 1 - (true.sum() - true.cumsum(0)) / (true.sum() + (1 - true).cumsum(0))
        sorted_terms.append(errors @ torch.cat([jaccard[:1], jaccard.diff()]))
    wanted = torch.stack(sorted_terms).mean()
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-6)
    gradient = torch.autograd.grad(wanted, logits)[0]
    assert (found - gradient).norm() < 1e-3 * gradient.norm()


def test_lovasz_of_logits_that_are_not_finite_is_not_finite():
    logits, labels = make_maps()
    assert not LovaszSoftmax()(logits.detach().index_fill(3, torch.tensor([2]), torch.nan), labels).isfinite()


def test_label_smoothing_completes_cross_entropy_to_pytorchs():
    logits, labels = make_maps()
    smoothed = F.cross_entropy(logits, labels, ignore_index=255, label_smoothing=0.1)
    found = F.cross_entropy(logits, labels, ignore_index=255) + 0.1 * LabelSmoothing()(logits, labels)
    assert found.item() == pytest.approx(smoothed.item())


@pytest.mark.parametrize("name", ADDED)
def test_every_one_learns_ignores_and_takes_any_stride(name):
    criterion = ADDED[name]()
    logits, labels = make_maps()
    loss = criterion(logits, labels)
    loss.backward()
    assert torch.isfinite(logits.grad).all() and logits.grad.abs().sum() > 0
    other = logits.detach().clone()
    other[0, :, :3] = 50.0  # where labels are ignored
    assert criterion(other, labels).item() == pytest.approx(loss.item())
    nothing = criterion(logits, torch.full_like(labels, 255))
    nothing.backward()
    assert nothing.item() == 0
    right = 20 * F.one_hot(labels.where(labels != 255, 0), 4).permute(0, 3, 1, 2).double()
    assert name == "label_smoothing" or criterion(right, labels).item() < 1e-6
    assert criterion(logits.detach()[:, :, ::2, ::2].bfloat16(), labels).dtype == torch.float32


def test_they_are_terms_of_the_main_output_and_without_the_option_nothing_changes():
    logits, labels = make_maps()
    outputs = {"logits": logits, "aux": [logits]}
    plain, added = (build_loss(LossOptions(**more), 4) for more in ({}, {"add_loss": "dice:0.5, lovasz:2"}))
    terms, before = added(outputs, labels), plain(outputs, labels)
    assert list(terms) == ["main", "aux", "dice", "lovasz", "total"] and list(before) == ["main", "aux", "total"]
    assert terms["dice"].item() == pytest.approx(0.5 * DiceLoss()(logits, labels).item())
    assert terms["lovasz"].item() == pytest.approx(2 * LovaszSoftmax()(logits, labels).item())
    assert terms["main"].item() == before["main"].item()
    assert terms["total"].item() == pytest.approx(
        before["total"].item() + terms["dice"].item() + terms["lovasz"].item()
    )


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("none:1", "none:1.*choose of .*dice"),
        ("dice", "dice.*a weight above 0"),
        ("dice:x", "dice:x.*a weight above 0"),
        ("dice:-1", "dice:-1"),
        ("dice:inf", "dice:inf"),
        ("dice:1,dice:2", "twice"),
        ("label_smoothing:1", "label_smoothing:1: must be below 1"),
    ],
)
def test_values_that_cannot_work(value, words):
    with pytest.raises(OptionError, match=f"--add_loss .*{words}"):
        LossOptions(add_loss=value)


@pytest.mark.parametrize(
    ("more", "flag"),
    [
        ({"class_weights": "road=0"}, "--class_weights"),
        ({"jointwtborder": True}, "--loss relaxed_boundary"),
        ({"ohem": True}, "--loss ohem"),
        ({"loss": "image_weighted"}, "--loss image_weighted"),
    ],
)
def test_label_smoothing_needs_pixels_that_count_alike(more, flag):
    with pytest.raises(OptionError, match=f"--add_loss label_smoothing {flag}"):
        LossOptions(add_loss="label_smoothing:0.1", **more)
