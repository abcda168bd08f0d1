"""Cityscapes' scores of categories and instances: by hand, and as eval.py leaves them."""

import json

import numpy as np
import pytest
import torch

import datasets
import eval as evaluation
import network
from datasets.cityscapes import CLASSES
from engine.checkpoint.snapshot import save_snapshot
from engine.evaluation.cityscapes_scores import cityscapes_scores, instance_sums
from tests.datasets import trees
from tests.test_bad_input import fails

PERSON, RIDER, CAR = (CLASSES.names.index(name) for name in ("person", "rider", "car"))


def test_a_pixel_counts_by_the_size_of_its_instance():
    instances = np.array([[24001, 24001, 24002, 26000, 29000, 1000, 24, 7]], np.int32)
    prediction = np.array([[PERSON, RIDER, CAR, CAR, CAR, PERSON, PERSON, PERSON]], np.uint8)
    sums = instance_sums(prediction, instances)
    person, car = 3462.4756337644, 12794.0202738185
    assert sums[0].tolist() == pytest.approx([person / 2, 1.5 * person, person, person])
    assert sums[2].tolist() == pytest.approx([car, 0, car, 0])
    assert not sums[[1, 3, 4, 5, 6, 7]].any()


def test_categories_forgive_confusions_inside():
    confusion = np.zeros((19, 19), np.int64)
    confusion[PERSON, [PERSON, RIDER, CAR]] = 2, 3, 5
    scores = cityscapes_scores(confusion)
    assert scores["category_scores"]["human"] == 0.5 and scores["category_scores"]["vehicle"] == 0
    assert scores["category_scores"]["sky"] is None and scores["average_score_categories"] == 0.25


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A snapshot for Cityscapes, and a root with two images to validate on, instance ids beside them."""
    base = tmp_path_factory.mktemp("cityscapes")
    root = trees.make_cityscapes(base / "data", trees.CITIES, size=(32, 64))
    for item in datasets.build_split("cityscapes", root, "val").items:
        label = np.full((32, 64), 26, np.uint8)
        label[:8] = 24
        trees.save(item.label, label)
        instances = 1000 * label.astype(np.uint16)
        instances[:, 32:] += 1
        trees.save(item.label.with_name(item.label.name.replace("labelIds", "instanceIds")), instances)
    torch.manual_seed(0)
    model = network.build_model("fenet_tiny", 19, channels=16)
    classes = CLASSES.to_dict("cityscapes")
    save_snapshot(base / "model.pth", {"model": model.state_dict(), "config": model.config, "classes": classes})
    return base / "model.pth", root


def arguments(given, out, *more) -> list[str]:
    options = ["--device", "cpu", "--num_workers", "0", "--bootstrap", "0", "--save_dir", str(out)]
    return ["--snapshot", str(given[0]), "--data_root", str(given[1]), *options, *more]


def test_eval_leaves_them_in_metrics_and_report(given, tmp_path):
    assert evaluation.main(arguments(given, tmp_path, "--instance_scores", "--dump_images", "--report")) == 0
    result = json.loads((tmp_path / "metrics.json").read_text())
    scores = result["cityscapes"]
    assert scores["class_inst_scores"]["bicycle"] is None
    split = datasets.build_split("cityscapes", given[1], "val")
    predicted = [trees.Image.open(tmp_path / "pred" / f"{name}.png") for name in split.names]
    sums = np.zeros(4)
    for picture in predicted:
        labels = CLASSES.to_train_ids(np.array(picture), "prediction")
        for half in (labels[8:, :32], labels[8:, 32:]):  # each a car, of one size
            sums[0] += (half == CAR).mean() * 12794.0202738185
    wrong = sum(int((np.array(picture)[:8] == 26).sum()) for picture in predicted)
    expected = sums[0] / (4 * 12794.0202738185 + wrong)
    assert scores["class_inst_scores"]["car"] == pytest.approx(expected, abs=1e-12)
    assert "mean of the classes with instances" in (tmp_path / "report.html").read_text()


def test_instance_scores_need_their_files(given, tmp_path, capfd):
    path = next(given[1].glob("gtFine/val/*/*_instanceIds.png"))
    held = path.read_bytes()
    path.unlink()
    fails(capfd, 3, evaluation.main, arguments(given, tmp_path, "--instance_scores"), f"{path}: no such file (1 of 2")
    path.write_bytes(held)
    other = ["--dataset", "kitti", "--instance_scores"]
    fails(capfd, 2, evaluation.main, arguments(given, tmp_path, *other), "--instance_scores: kitti has no instance ids")
