"""eval.py and demo_folder.py on a small trained model."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import demo_folder
import eval as evaluation
import network
from tests.conftest import eval_args
from utils.metrics.confusion import confusion_matrix


def evaluate(snapshot, data, out, *more) -> dict:
    assert evaluation.main(eval_args(snapshot, data, out, *more)) == 0
    return json.loads((out / "metrics.json").read_text())


def test_metrics_and_dumped_predictions_agree(trained, tmp_path):
    snapshot, data = trained.best, trained.data
    metrics = evaluate(snapshot, data, tmp_path, "--dump_images")
    matrix = np.zeros((4, 4), np.int64)
    for path in sorted((data / "masks" / "val").glob("*.png")):
        prediction = np.array(Image.open(tmp_path / "pred" / path.name))
        matrix += confusion_matrix(prediction, np.array(Image.open(path)), 4, 255)
        for kind in ("color", "overlay", "diff"):
            assert Image.open(tmp_path / kind / path.name).size == (64, 48)
    assert metrics["confusion_matrix"] == matrix.tolist() and metrics["num_images"] == 4
    intersection, union = np.diag(matrix), matrix.sum(0) + matrix.sum(1) - np.diag(matrix)
    assert metrics["mean_iou"] == pytest.approx((intersection / union).mean())
    assert metrics["pixel_accuracy"] == pytest.approx(intersection.sum() / matrix.sum())
    assert list(metrics["per_class"]) == ["sky", "road", "car", "tree"]
    assert metrics["bootstrap"]["resamples"] == 2000
    for c, row in enumerate(metrics["per_class"].values()):
        for name, count in (("precision", matrix[:, c].sum()), ("recall", matrix[c].sum())):
            assert row[name] == (pytest.approx(matrix[c, c] / count) if count else None)


def test_parts_add_up(trained, tmp_path):
    snapshot, data = trained.best, trained.data
    whole = evaluate(snapshot, data, tmp_path / "all")
    argv = eval_args(snapshot, data, tmp_path / "all", "--report", "--split_count", "2")
    parts, kept = [], (tmp_path / "all" / "metrics.json").read_bytes()
    for i in range(2):
        assert evaluation.main([*argv, "--split_index", str(i)]) == 0
    for name in ("part_0_of_2", "part_1_of_2"):
        assert (tmp_path / "all" / name / "report.html").is_file()
        parts.append(json.loads((tmp_path / "all" / name / "metrics.json").read_text()))
    assert (tmp_path / "all" / "metrics.json").read_bytes() == kept  # of the whole split, not of a part
    total = sum(np.array(part["confusion_matrix"]) for part in parts)
    assert total.tolist() == whole["confusion_matrix"] and sum(part["num_images"] for part in parts) == 4


def test_protocols_differ_and_are_recorded(trained, tmp_path):
    snapshot, data = trained.best, trained.data
    multi = ("-im", "sliding", "--crop_size", "32", "--scales", "0.5,1.0", "--flip", "--merge", "exp_softmax")
    metrics = evaluate(snapshot, data, tmp_path, *multi)
    assert metrics["protocol"]["scales"] == [0.5, 1.0] and metrics["protocol"]["inference_mode"] == "sliding"
    assert metrics["confusion_matrix"] != evaluate(snapshot, data, tmp_path)["confusion_matrix"]


def test_bare_release_weights_with_arch_and_dataset(trained, tmp_path):
    snapshot, data = trained.best, trained.data
    model = network.build_model("fenet_tiny", 4, channels=16)
    model.load_state_dict(torch.load(snapshot, weights_only=True)["model"])
    keys = network.release_key_map(model)
    torch.save({f"module.{theirs}": model.state_dict()[ours] for theirs, ours in keys.items()}, tmp_path / "bare.pth")
    argv = eval_args(tmp_path / "bare.pth", data, tmp_path / "out")
    assert evaluation.main(argv) == 2
    assert evaluation.main([*argv, "--arch", "fenet_tiny", "--dataset", "folder"]) == 4  # its decoder is wider
    assert demo_folder.main(["--demo_folder", str(data / "images" / "val"), *argv[:2]]) == 2


def test_split_without_labels_is_predicted_not_scored(trained, tmp_path, capfd):
    snapshot, data = trained.best, trained.data
    root = tmp_path / "data"
    shutil.copytree(data, root)
    shutil.copytree(data / "images" / "val", root / "images" / "test")
    argv = eval_args(snapshot, root, tmp_path / "out", "--split", "test")
    assert evaluation.main(argv) == 2 and "no score" in (error := capfd.readouterr().err) and "--dump_images" in error
    assert evaluation.main([*argv, "--dump_images", "--boundary"]) == 2
    assert not (tmp_path / "out" / "pred").exists()
    assert evaluation.main([*argv, "--dump_images"]) == 0
    assert len(list((tmp_path / "out" / "pred").glob("*.png"))) == 4
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_a_failing_evaluation_leaves_no_folder(trained, tmp_path):
    out = tmp_path / "new" / "out"
    for wrong, code in ((("--split", "none"), 2), (("--data_root", str(tmp_path / "none")), 3)):
        assert evaluation.main([*eval_args(trained.best, trained.data, out), *wrong]) == code
        assert list(tmp_path.iterdir()) == []
    assert evaluation.main(eval_args(tmp_path / "none.pth", trained.data, out)) == 4
    assert list(tmp_path.iterdir()) == []


def test_demo_exit_codes(trained, tmp_path):
    snapshot = trained.best
    empty = tmp_path / "empty"
    empty.mkdir()
    assert demo_folder.main(["--demo_folder", str(empty), "--snapshot", str(snapshot)]) == 3
    assert demo_folder.main(["--demo_folder", str(tmp_path / "none"), "--snapshot", str(snapshot)]) == 3
    (empty / "a.png").write_bytes(b"x")
    argv = ["--demo_folder", str(empty), "--save_dir", str(tmp_path / "out")]
    assert demo_folder.main([*argv, "--snapshot", str(snapshot)]) == 3
    assert not (tmp_path / "out").exists()
    assert demo_folder.main([*argv, "--snapshot", str(tmp_path / "none.pth")]) == 4
    assert demo_folder.main([*argv, "--snapshot", str(tmp_path)]) == 4
