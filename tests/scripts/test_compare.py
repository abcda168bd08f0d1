"""scripts/compare.py: two evaluations of the same images."""

import json
from pathlib import Path

import numpy as np
import pytest

from engine.evaluation.per_image import ImageResult
from engine.evaluation.score_files import write_per_image
from engine.evaluation.scoring import Evaluation
from scripts import compare
from tests.test_bad_input import fails

NAMES = ["road", "car", "train"]


def make_matrices(images: int, wrong: float, seed: int = 0) -> np.ndarray:
    """Confusion matrices whose truth depends on `seed` alone; the third class does not occur."""
    truth = np.random.default_rng(seed).integers(1000, 5000, (images, 2))
    matrices = np.zeros((images, 3, 3), np.int64)
    for c in range(2):
        matrices[:, c, 1 - c] = (truth[:, c] * wrong).astype(np.int64)
        matrices[:, c, c] = truth[:, c] - matrices[:, c, 1 - c]
    return matrices


def leave(folder: Path, matrices: np.ndarray, names=NAMES, split: str = "val", prefix: str = "n", **protocol) -> Path:
    """What eval.py leaves, as far as it is read."""
    images = [ImageResult.from_matrix(i, f"{prefix}{i}", matrix, 0.0, {}) for i, matrix in enumerate(matrices)]
    write_per_image(folder, Evaluation(images, len(names)), names)
    (folder / "metrics.json").write_text(json.dumps({"dataset": "camvid", "split": split, "protocol": protocol}))
    return folder


@pytest.fixture
def first(tmp_path) -> Path:
    return leave(tmp_path / "a", make_matrices(20, 0.3))


def test_a_clear_difference_is_marked(first, tmp_path, capsys):
    second = leave(tmp_path / "b", make_matrices(20, 0.2))
    assert compare.main([str(first), str(second), "--json", str(tmp_path / "c.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["IoU", *NAMES, "mean"]
    assert lines[-1].endswith("*") and lines[3].split() == ["train", "n/a", "n/a", "n/a"]
    result = json.loads((tmp_path / "c.json").read_text())
    low, high = result["mean_iou"]["interval"]
    assert 0.1 < low < result["mean_iou"]["difference"] < high < 0.2  # 0.8 / 1.2 - 0.7 / 1.3 = 0.128
    assert result["mean_iou"]["difference"] == result["mean_iou"]["b"] - result["mean_iou"]["a"]
    assert result["num_images"] == 20 and result["per_class"]["train"]["interval"] is None


def test_no_difference_is_not_marked(first, tmp_path, capsys):
    assert compare.main([str(first), str(first)]) == 0
    assert "*" not in (text := capsys.readouterr().out) and "+0.0000 to +0.0000" in text


def test_several_are_compared_with_the_first_and_their_protocols_named(first, tmp_path, capsys):
    others = [leave(tmp_path / "b", make_matrices(20, 0.2), flip=True), leave(tmp_path / "c", make_matrices(20, 0.3))]
    assert compare.main([str(first), *map(str, others), "--json", str(tmp_path / "c.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [f"A = {first}", f"B = {others[0]}", f"C = {others[1]}"]
    assert lines[3].startswith("WARNING: the protocols differ") and lines[3].endswith("flip null, true, null")
    assert lines[4].split() == ["IoU", "A", "B", "C"] and lines[5].split()[2].endswith("*")
    assert lines[-2].split()[0] == "B" and lines[-2].endswith("*")
    assert lines[-1].split()[0] == "C" and "+0.0000 to +0.0000" in lines[-1]
    result = json.loads((tmp_path / "c.json").read_text())
    assert result["protocol_differences"] == {"flip": [None, True, None]} and len(result["comparisons"]) == 2


def test_a_run_stands_for_the_evaluation_in_its_folder(first, tmp_path, capfd):
    run = tmp_path / "run"
    run.mkdir()
    (run / "best.pth").touch()
    fails(capfd, 3, compare.main, [first, run], "run: is a run without an evaluation", "eval.py --snapshot", "best.pth")
    leave(run / "val", make_matrices(20, 0.2))
    leave(run / "earlier" / "1", make_matrices(20, 0.5))
    assert compare.main([str(first), str(run)]) == 0
    assert f"B = {run / 'val'}" in capfd.readouterr().out
    leave(run / "test", make_matrices(20, 0.2))
    fails(capfd, 3, compare.main, [first, run], "several evaluations", str(run / "test"), str(run / "val"))
    leave(run, make_matrices(20, 0.2))  # such as the quickstart's
    assert compare.main([str(first), str(run)]) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"split": "test"}, "split val and test"),
        ({"names": ["road", "car", "bus"]}, "other names"),
        ({"prefix": "m"}, "image m0 is only in"),
        ({"matrices": make_matrices(19, 0.2)}, "image n19 is only in"),
        ({"matrices": make_matrices(20, 0.2, seed=1)}, "labels of image n0 differ"),
    ],
)
def test_what_is_not_the_same_is_refused(first, tmp_path, capfd, options, words):
    second = leave(tmp_path / "b", **{"matrices": make_matrices(20, 0.2), **options})
    argv = [first, second, "--json", tmp_path / "c.json"]
    fails(capfd, 3, compare.main, argv, str(first), str(second), words)
    assert not (tmp_path / "c.json").exists()


def test_what_cannot_be_read_is_one_line(first, tmp_path, capfd):
    fails(capfd, 3, compare.main, [first, tmp_path / "none"], "none/metrics.json", "eval.py")
    for text in ("[]", "3", "{}", "null", "{", "[" * 100_000):
        bad = leave(tmp_path / "bad", make_matrices(20, 0.2))
        (bad / "metrics.json").write_text(text)
        fails(capfd, 3, compare.main, [first, bad], "bad/metrics.json")
    with np.load(first / "per_image.npz") as file:
        arrays = dict(file)
    wrong = {"end": arrays["end"] * 2, "cells": arrays["cells"] + 9, "counts": -arrays["counts"], "name": np.zeros(20)}
    for name, value in wrong.items():
        bad = leave(tmp_path / "bad", make_matrices(20, 0.2))
        np.savez(bad / "per_image.npz", **{**arrays, name: value})
        fails(capfd, 3, compare.main, [first, bad], "bad/per_image.npz")
    (first / "per_image.npz").write_bytes(b"PK")
    fails(capfd, 3, compare.main, [first, first], "per_image.npz")
    one = leave(tmp_path / "one", make_matrices(1, 0.2))
    fails(capfd, 3, compare.main, [one, one], "single image")
    fails(capfd, 2, compare.main, [one, one, "--bootstrap", "0"], "--bootstrap")
