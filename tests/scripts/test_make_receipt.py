import json

import numpy as np
import pytest
from PIL import Image

import eval as evaluation
import train
from scripts import make_receipt
from tests.conftest import make_scenes, train_args


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    base = tmp_path_factory.mktemp("receipt")
    data = make_scenes(base / "data", 8)
    assert train.main(train_args(data, base, "--max_epoch", "1")) == 0
    argv = ["--snapshot", str(base / "run" / "best.pth"), "--data_root", str(data), "--num_workers", "0"]
    assert evaluation.main([*argv, "--save_dir", str(base / "eval"), "--dump_images", "--device", "cpu"]) == 0
    return base


def write(base, *more: str) -> int:
    argv = ["a", "--run", str(base / "run"), "--eval", str(base / "eval"), "--data_root", str(base / "data")]
    return make_receipt.main([*argv, "--variant", "v", "--command", "c", "--out", str(base / "a.json"), *more])


def test_receipt_counts_again_and_refuses_what_does_not_fit(evaluated, capfd):
    assert write(evaluated) == 0
    receipt = json.loads((evaluated / "a.json").read_text())
    metrics = json.loads((evaluated / "eval" / "metrics.json").read_text())
    assert receipt["mean_iou"] == metrics["mean_iou"] and receipt["weights_sha256"] == metrics["snapshot_sha256"]
    assert receipt["interval"][0] <= receipt["mean_iou"] <= receipt["interval"][1]

    assert write(evaluated, "--run", str(evaluated / "none")) == 3
    path = evaluated / "eval" / "pred" / "000.png"
    Image.fromarray((np.array(Image.open(path)) + 1) % 4).save(path)
    capfd.readouterr()
    assert write(evaluated, "--out", str(evaluated / "b.json")) == 3
    assert "--dump_images" in capfd.readouterr().err and not (evaluated / "b.json").exists()


def test_interval_is_a_point_for_equal_images():
    matrix = np.array([[3, 1], [0, 4]])
    low, high = make_receipt.bootstrap_interval(np.stack([matrix] * 5))
    assert low == high == pytest.approx((3 / 4 + 4 / 5) / 2)
