"""What users get wrong: one line, the right exit code, nothing half-written."""

import numpy as np
import torch
from PIL import Image

import eval as evaluation
import train
from tests.conftest import train_args


def fails(capfd, code: int, main, argv: list[str], *words: str) -> None:
    assert main([str(arg) for arg in argv]) == code
    error = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(error) == 1, error
    for word in words:
        assert word in error[0], error[0]


def test_options(scenes, tmp_path, capfd):
    for extra, word in [
        (["--learning_rate", "1"], "--learning_rate"),
        (["--lr", "fast"], "--lr"),
        (["--lr", "-1"], "--lr"),
        (["--arch", "fenet_r19"], "fenet_r18"),
        (["--arch", "os.system"], "--arch"),
        (["--dataset", "pascal"], "camvid"),
        (["--bs_mult", "1"], "--syncbn"),
        (["--bs_mult", "50"], "--bs_mult"),
        (["--accumulate", "50"], "--accumulate"),
        (["--joint_edgeseg_loss"], "GSCNN"),
        (["--exp", "../../elsewhere"], "--exp"),
    ]:
        fails(capfd, 2, train.main, [*train_args(scenes, tmp_path / "out"), *extra], word)
    assert not list((tmp_path / "out").rglob("*.pth"))


def test_data(scenes, tmp_path, capfd):
    argv = train_args(scenes, tmp_path / "out")
    mask, image = scenes / "masks" / "train" / "003.png", scenes / "images" / "train" / "003.png"
    good = mask.read_bytes()
    Image.fromarray(np.full((48, 64), 77, np.uint8)).save(mask)
    fails(capfd, 3, train.main, argv, str(mask), "77", "3072")
    Image.fromarray(np.zeros((40, 64), np.uint8)).save(mask)
    fails(capfd, 3, train.main, [*argv, "--class_uniform_pct", "0"], str(mask), "64x40", "64x48")
    Image.fromarray(np.tile(np.arange(3, dtype=np.uint8), (48, 64, 1))).save(mask)
    fails(capfd, 3, train.main, argv, str(mask), "colours")
    mask.unlink()
    fails(capfd, 3, train.main, argv, "003")
    mask.write_bytes(good)
    image.write_bytes(image.read_bytes()[:100])
    for workers in ("0", "2"):
        fails(capfd, 3, train.main, [*argv, "--num_workers", workers, "--class_uniform_pct", "0"], str(image))
    assert not list((tmp_path / "out").rglob("*.pth"))


def test_checkpoints_of_other_models(scenes, tmp_path, capfd):
    assert train.main(train_args(scenes, tmp_path, "--max_steps", "1")) == 0
    capfd.readouterr()
    snapshot = tmp_path / "run" / "last.pth"
    kept = snapshot.read_bytes()
    other = [*train_args(scenes, tmp_path), "--channels", "8"]
    fails(capfd, 4, train.main, other, str(snapshot), "--resume never")
    assert snapshot.read_bytes() == kept
    torch.save({"head.weight": torch.zeros(1)}, tmp_path / "other.pth")  # which names no classes
    fails(capfd, 4, train.main, [*other, "--resume", "never", "--snapshot", tmp_path / "other.pth"], "--partial")
    argv = ["--data_root", scenes, "--save_dir", tmp_path / "eval", "--snapshot", snapshot, "--arch", "fenet_r18"]
    fails(capfd, 4, evaluation.main, argv, "--arch")
    assert not (tmp_path / "eval" / "metrics.json").exists()


def test_loss_that_is_not_finite(scenes, tmp_path, capfd):
    arguments = [*train_args(scenes, tmp_path), "--lr", "1e30", "--max_skipped_steps", "3"]
    fails(capfd, 6, train.main, arguments, "not finite", "--lr")
    assert not (tmp_path / "run" / "last.pth").exists()


def test_traceback_only_on_request(scenes, tmp_path, capfd):
    argv = train_args(tmp_path / "none", tmp_path / "out")
    assert train.main(argv) == 3 and "Traceback" not in capfd.readouterr().err
    assert train.main([*argv, "--debug"]) == 3
    assert "Traceback" in (error := capfd.readouterr().err) and error.splitlines()[-1].startswith("error: ")
