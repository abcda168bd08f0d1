"""`--class_weights`: every formulation against F.cross_entropy's weights, and what the option says."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import loss.fused
import train
from datasets.camvid import CLASSES
from datasets.index import SplitIndex
from engine.training.class_counts import count_class_pixels
from loss import CrossEntropy, LossOptions, OhemCrossEntropy, build_loss, class_weights
from loss.given_weights import balance
from loss.whole_maps import whole_cross_entropy
from tests.conftest import make_scenes, train_args
from utils.errors import OptionError

WEIGHTS = (0.25, 3.0, 0.0, 1.5)
NAMES = ("sky", "road", "car", "tree")


def plain(logits, labels, keep=lambda values: values > -1):
    """The definition, in float64: which pixels count is decided without weights."""
    up = F.interpolate(logits, size=labels.shape[1:], mode="bilinear", align_corners=True)
    kept = keep(F.cross_entropy(up.detach(), labels, ignore_index=255, reduction="none"))
    return F.cross_entropy(up, labels.where(kept, 255), torch.tensor(WEIGHTS).double(), ignore_index=255)


def result(criterion, logits, labels):
    leaf = logits.clone().requires_grad_()
    (3 * (value := criterion(leaf, labels))).backward()
    return value.detach(), leaf.grad


def on_maps(criterion):
    choose = getattr(criterion, "hard_pixels", None)
    return lambda logits, labels: whole_cross_entropy(logits, labels, 255, choose, criterion.class_weights)


@pytest.fixture
def batch():
    torch.manual_seed(0)
    labels = torch.randint(0, 4, (2, 33, 41)).where(torch.rand(2, 33, 41) < 0.8, 255)
    return 2 * torch.randn(2, 4, 9, 11, dtype=torch.float64), labels


@pytest.mark.parametrize("walk", ["lines", "products", "maps"])
@pytest.mark.parametrize("min_kept", [None, 300, 1500])
def test_all_formulations_are_the_weighted_mean(batch, monkeypatch, walk, min_kept):
    monkeypatch.setattr(loss.fused, "HALF", (torch.float64,) if walk == "products" else ())
    criterion, keep = CrossEntropy(class_weights=WEIGHTS), lambda values: values > -1
    if min_kept is not None:
        criterion = OhemCrossEntropy(0.7, min_kept, class_weights=WEIGHTS)
        limit = lambda values: values.flatten().topk(min_kept).values[-1].clamp(max=-np.log(0.7))  # noqa: E731
        keep = lambda values: values >= limit(values)  # noqa: E731
    expected = result(lambda *inputs: plain(*inputs, keep), *batch)
    ours = result(on_maps(criterion) if walk == "maps" else criterion, *batch)
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-9)


def test_half_precision_and_pixels_without_a_weight(batch):
    logits, labels = batch
    expected, gradient = result(plain, logits.bfloat16().double(), labels)
    criterion = CrossEntropy(class_weights=WEIGHTS)
    for formulation, off in ((criterion, 5e-3), (on_maps(criterion), 2e-2)):
        value, ours = result(formulation, logits.bfloat16(), labels)
        assert value.item() == pytest.approx(expected.item(), rel=off)
        assert (ours - gradient).norm() <= off * gradient.norm()
        value, ours = result(formulation, logits, torch.full_like(labels, 2))
        assert value == 0 and not ours.any()


def test_weights_of_one_change_nothing(batch):
    logits, labels = batch
    for kind in (CrossEntropy, OhemCrossEntropy):
        ours, without = (result(kind(class_weights=given), logits, labels) for given in ((1, 1, 1, 1), None))
        torch.testing.assert_close(ours, without, rtol=1e-12, atol=1e-15)


def test_what_the_option_says():
    assert class_weights("", NAMES) is None and class_weights("balanced", NAMES) is None
    assert class_weights("1, 2,0.5,0", NAMES) == (1, 2, 0.5, 0)
    assert class_weights("car=3, sky=0.5", NAMES) == (0.5, 1, 3, 1)
    assert balance(np.array([80, 10, 0, 20]), np.array([100, 50, 0, 100])) == pytest.approx((0.25, 1, 1, 1))
    criterion = build_loss(LossOptions(ohem=True, class_weights="car=3"), 4, class_weights=(1, 1, 3, 1)).criterion
    assert criterion.class_weights.tolist() == [1, 1, 3, 1]


def test_counts_of_an_index():
    sample = {"ids": [0, 3, 255], "pixels": [6, 2, 9]}
    index = SplitIndex.of([])
    index.read, index.starts = np.ones(2, bool), np.array([0, 3, 4])
    index.ids, index.pixels = np.array([*sample["ids"], 3], np.uint8), np.array([*sample["pixels"], 5])
    pixels, around = count_class_pixels(index, CLASSES)
    assert (pixels[[0, 3]].tolist(), pixels.sum()) == ([6, 7], 13)
    assert (around[[0, 3]].tolist(), around.sum()) == ([8, 13], 21)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_weights": "1,-2"}, "--class_weights 1,-2: '-2' is no number of 0 or more"),
        ({"class_weights": "road=much"}, "--class_weights road=much: 'much'"),
        ({"class_weights": "nan"}, "'nan' is no number"),
        ({"class_weights": "road=2,3"}, "--class_weights road=2,3: .*once"),
        ({"class_weights": "balanced", "img_wt_loss": True}, "--class_weights: --loss image_weighted .*ce or ohem"),
    ],
)
def test_what_is_refused_when_parsed(options, message):
    with pytest.raises(OptionError, match=message):
        LossOptions(**options)


def test_a_run_says_its_weights_and_refuses_those_of_other_classes(tmp_path, capfd):
    data = make_scenes(tmp_path / "data", 4)
    argv = train_args(data, tmp_path, "--class_uniform_pct", "0", "--max_steps", "1", "--ohem")
    for wrong, said in (
        ("bus=2", "--class_weights bus=2: there is no such class"),
        ("1,2", "2 weights; the 4 classes"),
    ):
        assert train.main([*argv, "--class_weights", wrong]) == 2
        assert said in capfd.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["data"]  # nothing was looked at
    assert train.main([*argv, "--class_weights", "balanced"]) == 0
    assert "class weights: sky " in capfd.readouterr().out
    assert json.loads((tmp_path / "run" / "config.json").read_text())["class_weights"] == "balanced"
    assert train.main([*argv, "--class_weights", "car=2"]) == 2
    assert "class_weights was balanced, is car=2" in capfd.readouterr().err
