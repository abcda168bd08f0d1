"""scripts/label_faults.py: labels that are probably wrong."""

import argparse
import json
import shutil

import cv2
import numpy as np
import pytest
import torch

import datasets
from datasets.synthetic.split import SyntheticSplit
from engine.checkpoint.snapshot import load_snapshot
from engine.inference.small_weights import SMALL_WEIGHTS
from network import build_model
from scripts import label_faults
from scripts.label_fault_search.alignment import align
from scripts.label_fault_search.evidence import LEVELS, PRIOR, Confusions, Counts
from scripts.label_fault_search.planting import Planted, Planter
from scripts.label_fault_search.predictions import load_judges
from scripts.label_fault_search.regions import TINY, find_regions
from scripts.label_fault_search.search import Search
from scripts.label_fault_search.trial import PLANTED, rate, score_trials
from tests.test_bad_input import fails
from utils.constants import IGNORE_LABEL

SIZE, CLASSES, IMAGES = (96, 128), 5, 24


def make_scene(seed: int) -> np.ndarray:
    """Sky over road, with boxes of other classes that stand on a line; train ids (H,W)."""
    rng, width = np.random.default_rng(seed), SIZE[1]
    label = np.zeros(SIZE, np.uint8)
    horizon = int(rng.integers(40, 56))
    label[horizon:] = 1
    for x in range(4, width - 24, 28):
        side = int(rng.integers(10, 22))
        label[horizon - side // 2 : horizon + side // 2, x : x + side] = rng.integers(2, CLASSES)
    return label


def predict(label: np.ndarray, seed: int) -> np.ndarray:
    """Probabilities (C,H,W) of a model that is nearly always right: blurred truth with noise."""
    truth = np.stack([cv2.GaussianBlur((label == c).astype(np.float32), (0, 0), 1.5) for c in range(CLASSES)])
    noise = np.random.default_rng(seed).uniform(0, 0.1, (CLASSES, *SIZE)).astype(np.float32)
    return (truth + noise) / (truth + noise).sum(0)


@pytest.fixture(scope="module")
def scenes():
    labels = [make_scene(seed) for seed in range(IMAGES)]
    return labels, [predict(label, seed) for seed, label in enumerate(labels)]


def search(scenes, faulty: dict[int, np.ndarray]) -> Search:
    found = Search(CLASSES)
    for index, (label, probability) in enumerate(zip(*scenes, strict=True)):
        found.add(index, probability, faulty.get(index, label))
    return found


def test_planted_faults_come_first_with_their_kind(scenes):
    labels, _ = scenes
    planter = Planter(labels.__getitem__, IMAGES, CLASSES, np.array([1, 0, 3, 4, 2]))
    made = {3 + i: planter.make(kind, 3 + i, np.random.default_rng(i)) for i, kind in enumerate(PLANTED)}
    faults = search(scenes, {index: label for index, (_, label) in made.items()}).faults()
    assert {fault.index for fault in faults[:4]} == set(made)
    assert {fault.index: fault.kind for fault in faults[:4]} == {
        index: fault.kind for index, (fault, _) in made.items()
    }
    scored = score_trials([({index: fault for index, (fault, _) in made.items()}, faults)])
    assert scored["precision"]["value"] == 1 and scored["kinds"]["missing"]["located"]["value"] == 1


def test_an_object_that_is_painted_over_is_found_where_it_is(scenes):
    label = scenes[0][5]
    where = label == label[label >= 2][0]
    _, places = cv2.connectedComponents(where.astype(np.uint8))
    where = places == places[where][0]
    fault = search(scenes, {5: np.where(where, 0, label).astype(np.uint8)}).faults()[0]
    x, y, width, height = fault.regions[0][1].box
    assert fault.index == 5 and where[y : y + height, x : x + width].mean() > 0.9
    assert fault.regions[0][1].outline[0][0] in range(x, x + width)


def test_a_shift_is_measured_and_another_images_label_named(scenes):
    labels, _ = scenes
    moved = cv2.warpAffine(labels[7], np.float32([[1, 0, -12], [0, 1, 6]]), SIZE[::-1], flags=0, borderValue=255)
    faults = {fault.index: fault for fault in search(scenes, {7: moved, 9: labels[20]}).faults()}
    assert faults[7].kind == "shift" and np.abs(np.subtract(faults[7].offset, (12, -6))).max() <= 1
    assert faults[9].kind == "wrong_image" and faults[9].like == 20


def test_agreement_is_that_of_plain_loops(scenes):
    label, probability = scenes[0][0].copy(), scenes[1][1]
    label[:20] = IGNORE_LABEL
    found = align(probability, label)
    rows, columns = np.nonzero(label < CLASSES)
    picked = [probability[label[y, x], y, x] for y, x in zip(rows, columns, strict=True)]
    assert found.agreement == pytest.approx(np.mean(picked), abs=1e-5)
    dx, dy = found.offset
    moved = [
        probability[label[y, x], y + dy, x + dx] if 0 <= y + dy < SIZE[0] and 0 <= x + dx < SIZE[1] else None
        for y, x in zip(rows, columns, strict=True)
    ]
    assert found.moved == pytest.approx(np.mean([value for value in moved if value is not None]), abs=1e-4)


def test_a_region_is_scored_by_what_the_other_images_say(scenes):
    labels, probabilities = scenes
    label = labels[5].copy()
    label[60:80, 20:60] = 0
    confusions, counts = Confusions(CLASSES), []
    for index in range(8):
        counts.append(Counts.of(probabilities[index], label if index == 5 else labels[index]))
        confusions.add(counts[-1], label.size)
    region = find_regions(probabilities[5], label)[0]
    level = min(int(region.probability * LEVELS), LEVELS - 1)
    hits = {0: 0, 1: 0}
    total = {0: 0, 1: 0}
    for index in (0, 1, 2, 3, 4, 6, 7):
        confidence, predicted = probabilities[index].max(0), probabilities[index].argmax(0)
        for true in (0, 1):
            here = labels[index] == true
            total[true] += here.sum()
            hits[true] += (here & (predicted == 1) & (np.minimum((confidence * LEVELS).astype(int), 9) >= level)).sum()
    prior = PRIOR * label.size
    rates = [(hits[true] + prior) / (total[true] + LEVELS * prior) for true in (1, 0)]
    expected = 100 * region.margin**2 * region.core**0.5 * np.log(rates[0] / rates[1])
    assert confusions.score(region, counts[5]) == pytest.approx(expected)
    y, x = 70, 40
    assert (region.label, region.predicted) == (0, 1)
    assert region.margin == pytest.approx(
        np.log((probabilities[5][1, y, x] + TINY) / (probabilities[5][0, y, x] + TINY)), rel=0.3
    )


def test_ignored_pixels_and_labels_say_nothing(scenes):
    label = scenes[0][5].copy()
    label[:, 30:] = IGNORE_LABEL
    assert all(region.box[0] + region.box[2] <= 30 for region in find_regions(scenes[1][6], label))
    void = np.full(SIZE, IGNORE_LABEL, np.uint8)
    found = search(scenes, {0: void})
    assert found.num_images == IMAGES - 1 and 0 not in {fault.index for fault in found.faults()}
    assert search(([void], [scenes[1][0]]), {}).faults() == []


def test_wilson_interval():
    assert rate(0, 0) is None
    assert rate(5, 10)["interval"] == pytest.approx([0.2366, 0.7634], abs=1e-4)  # textbook values
    assert score_trials([({1: Planted("swap", (0, 0, 4, 4))}, [])])["kinds"]["swap"]["recall"]["value"] == 0


def test_command_line(tmp_path, capfd, monkeypatch):
    split, right = SyntheticSplit("val", 0, 8, 64, 128), SyntheticSplit("val", 0, 8, 64, 128)
    monkeypatch.setattr(split, "load_label", lambda index: right.load_label({2: 6}.get(index, index)))
    monkeypatch.setattr(datasets, "build_split", lambda *_: split)
    argv = [str(SMALL_WEIGHTS), "--device", "cpu", "--out", str(tmp_path)]
    assert label_faults.main([*argv, "--plant", "0.5", "--plant_trials", "1", "--images", "3"]) == 0
    found = json.loads((tmp_path / "faults.json").read_text())
    assert (len(found), found[0]["name"], found[0]["kind"]) == (8, split.names[2], "wrong_image")
    assert found[0]["like"] == split.names[6]
    assert [row["score"] for row in found] == sorted((row["score"] for row in found), reverse=True)
    region = found[0]["regions"][0]
    assert set(region) == {"x", "y", "width", "height", "label", "predicted", "score"}
    shapes = json.loads((tmp_path / "labelme" / f"{found[0]['name']}.json").read_text())["shapes"]
    assert shapes[0]["label"] == region["predicted"] and len(shapes[0]["points"]) >= 3
    assert json.loads((tmp_path / "trial.json").read_text())["planted"] >= 3
    page = (tmp_path / "report.html").read_text()
    assert "This is no corrected score" in page and found[0]["name"] in page
    capfd.readouterr()
    monkeypatch.setattr(Planter, "make", lambda *_: None)
    corrected = tmp_path / "labelme" / f"{found[0]['name']}.json"
    corrected.write_text("corrected by hand")
    assert label_faults.main([*argv, "--plant", "0.5"]) == 0 and not (tmp_path / "trial.json").exists()
    assert "--plant: no fault could be planted" in "".join(capfd.readouterr())
    earlier = tmp_path / "earlier" / "1"
    assert (earlier / "labelme" / corrected.name).read_text() == "corrected by hand" != corrected.read_text()
    assert json.loads((earlier / "faults.json").read_text()) == found
    for wrong, word in (
        (["--plant", "0.9"], "--plant"),
        (["--images", "0"], "--images"),
        (["--seed", "-1"], "--seed -1"),
        (["--split", "a"], "a"),
    ):
        monkeypatch.undo()
        fails(capfd, 2, label_faults.main, [*argv, *wrong], word)


def test_a_fault_that_changes_nothing_is_none():
    label = np.zeros((40, 40), np.uint8)
    planter = Planter(lambda index: label, 1, 2, np.array([0, 0]))  # class 0 is taken for nothing else
    assert planter.make("swap", 0, np.random.default_rng(0)) is None
    planter = Planter(lambda index: label, 1, 2, np.array([1, 0]))
    assert planter.make("swap", 0, np.random.default_rng(0))[1].all()


def test_void_labels_and_label_files_are_refused(tmp_path, capfd, monkeypatch):
    split = SyntheticSplit("val", 0, 2, 64, 128)
    monkeypatch.setattr(split, "load_label", lambda index: np.full((64, 128), IGNORE_LABEL, np.uint8))
    monkeypatch.setattr(datasets, "build_split", lambda *_: split)
    argv = ["--device", "cpu", "--out", str(tmp_path)]
    fails(capfd, 3, label_faults.main, [str(SMALL_WEIGHTS), *argv], "void")
    fails(capfd, 2, label_faults.main, ["model.onnx", *argv], "model.onnx", "probabilities")
    fails(capfd, 4, label_faults.main, [str(tmp_path / "none.pth"), *argv], "none.pth")


def test_folds_judge_what_they_were_not_trained_on(tmp_path):
    for fold, split in (("a", "train"), ("b", "val")):
        (tmp_path / fold).mkdir()
        shutil.copy(SMALL_WEIGHTS, tmp_path / fold / "best.safetensors")
        config = {"dataset": "synthetic", "train_split": split, "cv": 0}
        (tmp_path / fold / "config.json").write_text(json.dumps(config))
    snapshots = [tmp_path / fold / "best.safetensors" for fold in ("a", "b")]
    options = {"arch": None, "dataset": None, "data_root": None, "split": "val", "cv_split": 0}
    options |= {"device": "cpu", "base_size": None}
    judges = load_judges(argparse.Namespace(snapshots=snapshots, **options))
    assert judges.chosen(0) == [judges.models[0]] and not judges.seen(0)
    alone = load_judges(argparse.Namespace(snapshots=snapshots[1:], **options))
    assert alone.seen(0) and "40 images were trained on" in alone.describe()


def test_bare_weights_judge_too(tmp_path, capfd):
    torch.save(load_snapshot(SMALL_WEIGHTS)["model"], tmp_path / "bare.pth")
    common = {"snapshots": [tmp_path / "bare.pth"], "split": "val", "cv_split": 0, "device": "cpu", "base_size": None}
    options = argparse.Namespace(**common, arch="fenet_tiny", dataset="synthetic", data_root=None)
    assert load_judges(options).split.dataset == "synthetic"
    argv = [str(tmp_path / "bare.pth"), "--device", "cpu", "--out", str(tmp_path / "out")]
    fails(capfd, 2, label_faults.main, argv, "name --arch and --dataset as well")
    fails(capfd, 2, label_faults.main, [*argv, "--arch", "fenet_tiny"], "name a --dataset whose classes are fixed")


def test_bare_weights_judge_data_whose_classes_come_with_it(trained, tmp_path):
    names = load_snapshot(trained.best)["classes"]["names"]
    torch.save(build_model("fenet_tiny", len(names)).state_dict(), tmp_path / "bare.pth")
    common = {"snapshots": [tmp_path / "bare.pth"], "split": "val", "cv_split": 0, "device": "cpu", "base_size": None}
    options = argparse.Namespace(**common, arch="fenet_tiny", dataset="folder", data_root=str(trained.data))
    assert len(load_judges(options).split) == 4
