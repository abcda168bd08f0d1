import errno
import json

import pytest

import demo_folder
import eval as evaluation
from engine.export.options import ExportOptions
from scripts import export
from tests.conftest import train_args
from train import main as train


def test_from_training_to_a_handout_that_is_evaluated(scenes, tmp_path, capsys):
    assert train(train_args(scenes, tmp_path, "--max_epoch", "1")) == 0
    best = tmp_path / "run" / "best.pth"
    common = ["--data_root", str(scenes), "--num_workers", "0", "--device", "cpu"]
    assert evaluation.main(["--snapshot", str(best), "--save_dir", str(tmp_path / "eval"), *common]) == 0
    out = tmp_path / "handout"
    assert export.main(["--snapshot", str(best), "--out", str(out), "--eval", str(tmp_path / "eval")]) == 0
    assert "## Scores" in (out / "README.md").read_text() and "`--crop_size`" in (out / "README.md").read_text()
    weights = out / "model.safetensors"
    assert evaluation.main(["--snapshot", str(weights), "--save_dir", str(tmp_path / "again"), *common]) == 0
    first, again = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("eval", "again"))
    assert first["confusion_matrix"] == again["confusion_matrix"]
    demo = ["--demo_folder", str(scenes / "images" / "val"), "--snapshot", str(weights), "--device", "cpu"]
    assert demo_folder.main([*demo, "--save_dir", str(tmp_path / "demo")]) == 0
    assert export.main(["--snapshot", str(best), "--out", str(out), "--format", "release"]) == 0
    assert (out / "release.pth").exists()
    # an evaluation of other weights must not end up in the card
    assert export.main(["--snapshot", str(weights), "--out", str(out), "--eval", str(tmp_path / "eval")]) == 2
    assert "another snapshot" in capsys.readouterr().err
    (tmp_path / "eval" / "metrics.json").write_text("{}")  # not eval.py's
    assert export.main(["--snapshot", str(best), "--out", str(out), "--eval", str(tmp_path / "eval")]) == 2


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--format", "release", "--half"], "--half: is for --format safetensors, onnx, openvino, not release"),
        (["--format", "onnx", "--calibration", "x", "--min_agreement", "99"], "--min_agreement 99.0: a share"),
        (["--format", "onnx", "--calibration", "x", "--max_loss", "-1"], "--max_loss -1.0: a fraction"),
    ],
)
def test_options_that_do_not_fit_are_refused(argv, says, tmp_path, capsys):
    assert export.main(["--out", str(tmp_path / "out"), *argv]) == 2
    assert capsys.readouterr().err.startswith(f"error: {says}") and not (tmp_path / "out").exists()


def test_options_without_effect_are_said(tmp_path, capsys):
    argv = ["--format", "release", "--license", "x", "--size", "64,64", "--dynamic"]
    assert export.main(["--out", str(tmp_path), *argv]) == 0
    lines = [line.split()[0] for line in capsys.readouterr().out.splitlines() if "has no effect" in line]
    assert lines == ["--license", "--size", "--dynamic"]


@pytest.mark.parametrize(
    ("given", "idle"),
    [
        ({"calibration": "a", "data_root": "b", "split": "train", "max_loss": 0.1}, ["--calibration"]),
        ({"calibration": "a", "data_root": "b", "format": "onnx-int8"}, []),
        ({"calibration": "a", "split": "train", "max_loss": 0.1}, ["--split", "--max_loss"]),
    ],
)
def test_images_and_scores_that_are_not_used_are_said(given, idle):
    notes = ExportOptions(out="o", **{"format": "onnx"} | given).notes()
    assert [note.split()[0] for note in notes] == idle


@pytest.mark.parametrize("format", ["release", "safetensors"])
def test_a_full_disk_names_the_file(format, tmp_path, capsys, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert export.main(["--format", format, "--out", str(tmp_path / "out")]) == 5
    assert "cannot be written (No space left on device)" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_bad_input_is_one_line(tmp_path, capsys):
    assert export.main(["--snapshot", str(tmp_path / "none.pth"), "--out", str(tmp_path)]) == 4
    assert "none.pth: no such file" in capsys.readouterr().err
