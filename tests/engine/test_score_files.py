"""The files that an evaluation leaves."""

import csv
import dataclasses
import json
import math

import numpy as np
import pytest

from engine.evaluation.per_image import ImageResult
from engine.evaluation.score_files import format_metrics, load_per_image, split_metrics, write_per_image
from engine.evaluation.scoring import Evaluation
from utils.errors import DataError

NAMES = ["road", "traffic sign", "sky"]
MATRICES = np.array([[[5, 1, 0], [2, 3, 0], [0, 0, 0]], [[0, 0, 0]] * 3, [[0, 0, 0], [0, 0, 0], [0, 4, 12]]], np.int64)


@pytest.fixture
def evaluation() -> Evaluation:
    names = ["a,b", 'städte/"x"', os_name()]
    rows = zip(names, MATRICES, (1.5, 0.0, 8.0), strict=True)
    return Evaluation([ImageResult.from_matrix(3 * i, n, m, nll, {}) for i, (n, m, nll) in enumerate(rows)], 3)


def os_name() -> str:
    """A file name that is no UTF-8."""
    return b"caf\xe9".decode("utf-8", "surrogateescape")


def test_counts_of_every_image_come_back(evaluation, tmp_path):
    write_per_image(tmp_path, evaluation, NAMES)
    found, names = load_per_image(tmp_path)
    assert names == NAMES and found.num_classes == 3
    for image, expected in zip(found.images, evaluation.images, strict=True):
        assert (image.index, image.name, image.nll) == (expected.index, expected.name, expected.nll)
        assert np.array_equal(image.confusion, expected.confusion)


def test_table_of_every_image(evaluation, tmp_path):
    write_per_image(tmp_path, evaluation, NAMES)
    with open(tmp_path / "per_image.csv", encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [image.name for image in evaluation.images]
    assert [row["labelled_pixels"] for row in rows] == ["11", "0", "16"]
    assert float(rows[0]["pixel_accuracy"]) == 8 / 11 and float(rows[0]["loss"]) == 1.5 / 11
    assert float(rows[0]["iou road"]) == 5 / 8 and rows[0]["iou sky"] == ""
    assert float(rows[2]["mean_iou"]) == (0 + 12 / 16) / 2
    assert set(rows[1].values()) == {'städte/"x"', "0", ""}  # an all-void label is no failure


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_an_empty_cell(evaluation, tmp_path, loss):
    images = [dataclasses.replace(evaluation.images[0], nll=loss), *evaluation.images[1:]]
    evaluation = Evaluation(images, 3)
    write_per_image(tmp_path, evaluation, NAMES)
    header, *rows = (tmp_path / "per_image.csv").read_bytes().splitlines()
    assert rows[0].split(b",")[5] == b"" and rows[2].split(b",")[4] == b"0.5"  # the first name holds a comma
    assert b"nan" not in b"".join(rows) and b"inf" not in b"".join(rows)
    summary = split_metrics(evaluation, NAMES, 10)
    assert summary["loss"] is None and json.dumps(summary, allow_nan=False)
    assert load_per_image(tmp_path)[0].images[0].nll == pytest.approx(loss, nan_ok=True)


def test_equal_evaluations_leave_equal_bytes(evaluation, tmp_path):
    for folder in ("a", "b"):
        write_per_image(tmp_path / folder, evaluation, NAMES)
    for name in ("per_image.csv", "per_image.npz"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("damage", [lambda data: data[:100], lambda data: b"", lambda data: data[:-1] + b"x"])
def test_damaged_counts_are_one_line(evaluation, tmp_path, damage):
    write_per_image(tmp_path, evaluation, NAMES)
    path = tmp_path / "per_image.npz"
    content = bytearray(path.read_bytes())
    content[80:120] = bytes(40)  # inside the first array
    path.write_bytes(damage(bytes(content)))
    with pytest.raises(DataError, match="per_image.npz: cannot be read"):
        load_per_image(tmp_path)


def test_missing_counts_are_one_line(tmp_path):
    with pytest.raises(DataError, match="per_image.npz: cannot be read"):
        load_per_image(tmp_path)


def test_summary_has_intervals_where_images_can_tell(evaluation):
    result = split_metrics(evaluation, NAMES, 500)
    assert result["confusion_matrix"] == MATRICES.sum(0).tolist() and result["num_images"] == 3
    low, high = result["interval"]
    assert 0 <= low < result["mean_iou"] < high <= 1
    assert result["per_class"]["road"]["interval"] is None  # in one image only
    assert result["per_class"]["traffic sign"]["interval"] == pytest.approx([0, 0.5])
    assert result["loss"] == 9.5 / 27
    assert any("interval" in line for line in format_metrics(result))
    without = split_metrics(evaluation, NAMES, 0)
    assert without["interval"] is None and without["mean_iou"] == result["mean_iou"]
    assert not any("interval" in line for line in format_metrics(without))
