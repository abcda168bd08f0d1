"""train.py end to end: what it leaves and says, and that an interrupted run ends in the same weights."""

import json
import shlex
import signal
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

import eval as evaluation
import network
import train
from engine.checkpoint.digests import weights_sha256
from engine.checkpoint.snapshot import load_snapshot
from engine.training import learner
from tests.conftest import make_scenes, train_args
from tests.processes import Job


def digest(text: str) -> str:
    (line,) = [line for line in text.splitlines() if "final weights sha256: " in line]
    return line.rsplit(" ", 1)[1]


def run(capfd, *argv: str) -> str:
    assert train.main(list(argv)) == 0
    return capfd.readouterr().out


def records(folder) -> list[dict]:
    """metrics.jsonl of `folder/run` without what depends on the machine."""
    lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    return [{name: line[name] for name in line if name not in ("images_per_second", "data_wait")} for line in lines]


def weights(folder) -> dict[str, torch.Tensor]:
    return load_snapshot(folder / "run" / "last.pth")["model"]


def test_what_a_run_leaves_and_says(scenes, tmp_path, capfd):
    argv = train_args(scenes, tmp_path, "--ema", "0.9")
    out, folder = run(capfd, *argv), tmp_path / "run"
    config = json.loads((folder / "config.json").read_text())
    built = {"arch": "fenet_tiny", "lr": 0.01, "weight_decay": 1e-4, "aux": True, "dropout": 0.1, "norm": "plain"}
    assert config | built == config
    assert config["command"] == shlex.join(["python", "train.py", *argv])
    assert config["versions"]["torch"] == torch.__version__
    assert {"revision", "host"} <= config.keys()
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line["step"]) for line in lines] == [(0, 4), (1, 8)]
    assert set(lines[0]) == {
        *("epoch", "step", "lr", "train_loss", "images_per_second", "data_wait"),
        *("val_loss", "mean_iou", "pixel_accuracy", "per_class_iou"),
    }
    assert list(lines[0]["per_class_iou"]) == ["sky", "road", "car", "tree"]
    assert 0 < lines[1]["lr"] < lines[0]["lr"] < 0.01
    assert weights_sha256(weights(tmp_path)) == digest(out)
    assert Image.open(next((folder / "pictures").glob("*.png"))).size == (3 * 64 + 8, 48)
    assert list(folder.glob("events.out.tfevents.*"))
    for said in (
        "model: fenet_tiny, 1,433,628 parameters, 1,433,628 of them trained; norms: plain",
        f"data: folder in {scenes}; 9 images of train to train on, 4 of val to validate on",
        "classes: 4 (sky, road, car, tree)",
        "schedule: 2 epochs of 4 steps of 2 crops",
        "device: cpu; processes: 1; threads: 1; loader processes: 0; precision: ",
        f"folder: {folder}",
        f"command: {config['command']}",
        " step 8/8 loss ",
    ):
        assert said in out
        assert said in (folder / "log.txt").read_text()

    best = load_snapshot(folder / "best.pth")["score"]
    assert best["mean_iou"] == max(line["mean_iou"] for line in lines)
    assert f"best epoch: {best['epoch']}, mIoU {100 * best['mean_iou']:.2f}, in {folder / 'best.pth'}\n" in out
    (following,) = [line.removeprefix("next: python eval.py ") for line in out.splitlines() if "next: " in line]
    assert evaluation.main([*shlex.split(following), "--num_workers", "0", "--device", "cpu"]) == 0
    scored = json.loads((folder / "eval" / "metrics.json").read_text())
    assert scored["mean_iou"] == best["mean_iou"]

    capfd.readouterr()
    again = run(capfd, *argv)
    assert again.startswith("resuming at step 8 from ")
    assert "this run is finished; " in again
    assert digest(again) == digest(out)


def test_the_next_command_scores_as_the_run_was_validated(scenes, tmp_path, capfd):
    argv = train_args(scenes, tmp_path, "--max_epoch", "1", "--base_size", "96")
    assert " --split val --base_size 96 --save_dir " in run(capfd, *argv)


def test_a_run_that_can_not_begin_leaves_no_folder(scenes, tmp_path, capfd):
    for code, extra in [
        (2, ("--arch", "fenet_r19")),
        (2, ("--bs_mult", "50")),
        (2, ("--accumulate", "50")),
        (2, ("--bs_mult", "1")),
        (3, ("--val_split", "test")),
        (4, ("--snapshot", "none.pth")),
        (4, ("--resume", "none.pth")),
        (2, ("--pretrained", "none.pth")),
    ]:
        assert train.main(train_args(scenes, tmp_path / "out" / "new", *extra, "--class_uniform_pct", "0")) == code
        assert not (tmp_path / "out").exists(), extra


STATEFUL = ("--ema", "0.9", "--class_uniform_tile", "32", "--warmup_steps", "3", "--amsgrad", "--adam")


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The data set, weights' digest and records of a run with everything that has a state."""
    base = tmp_path_factory.mktemp("straight")
    data = make_scenes(base / "data", 9)
    assert train.main(train_args(data, base, *STATEFUL)) == 0
    return data, weights_sha256(weights(base)), records(base)


@pytest.mark.parametrize("stop_at", [3, *(pytest.param(step, marks=pytest.mark.slow) for step in (1, 4, 6))])
def test_interrupted_run_ends_in_the_same_weights(straight, tmp_path, capfd, stop_at):
    data, expected, figures = straight
    run(capfd, *train_args(data, tmp_path, *STATEFUL, "--max_steps", str(stop_at)))
    out = run(capfd, *train_args(data, tmp_path, *STATEFUL, "--num_workers", "2"))
    assert out.startswith(f"resuming at step {stop_at} from {tmp_path / 'run' / 'last.pth'}\n")
    assert digest(out) == expected
    assert records(tmp_path) == figures


def test_start_from_a_snapshot_with_its_optimizer(straight, tmp_path, capfd):
    data, expected, _ = straight
    run(capfd, *train_args(data, tmp_path, *STATEFUL, "--max_steps", "3"))
    start = ("--snapshot", str(tmp_path / "run" / "last.pth"), "--restore_optimizer")
    out = run(capfd, *train_args(data, tmp_path / "other", *STATEFUL, *start))
    assert out.startswith("resuming at step 3 from")
    assert digest(out) == expected


@pytest.mark.slow
def test_augmentation_in_the_step_resumes_exactly_and_is_drawn(scenes, tmp_path, capfd):
    extra = ["--augment", "device", "--dump_augmentation_images"]
    whole = digest(run(capfd, *train_args(scenes, tmp_path / "a", *extra)))
    run(capfd, *train_args(scenes, tmp_path / "b", *extra, "--max_steps", "3"))
    out = run(capfd, *train_args(scenes, tmp_path / "b", *extra, "--num_workers", "2", "--cache", "disk"))
    assert digest(out) == whole
    pictures = list((tmp_path / "a" / "run" / "augmented").glob("*.png"))
    assert len(pictures) == 8  # of 9: the last one fills no batch
    assert Image.open(pictures[0]).size == (2 * 32 + 4, 32)


def test_sigterm_saves_the_current_step(scenes, tmp_path):
    with Job(["train.py", *train_args(scenes, tmp_path, "--max_epoch", "500", "--eval_epoch", "499")]) as job:
        next(line for line in job.follow() if " step 3/" in line)
        job.send(signal.SIGTERM)
        done = job.wait(60)
    assert done.returncode == 0, done.stderr
    step = load_snapshot(tmp_path / "run" / "last.pth")["training"]["state"]["step"]
    assert 3 <= step < 500
    assert f"stopped at step {step}, saved" in done.stdout
    assert digest(done.stdout)


SHORT = ("--max_steps", "3", "--ema", "0.9", "--ohem", "--ohem_min_kept", "100")


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """The data set and the weights of a short run."""
    base = tmp_path_factory.mktemp("short")
    data = make_scenes(base / "data", 9)
    assert train.main(train_args(data, base, *SHORT)) == 0
    return data, weights(base)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--seed 0", ""),
        ("--checkpoint_activations", ""),
        pytest.param("--compile", "--compile: same results as without; ", marks=pytest.mark.slow),
        ("--cache ram --num_workers 1", "for the pixels of 9 samples of folder train"),
        ("--cache disk --num_workers 1", "for the pixels of 9 samples of folder train"),
    ],
)
def test_how_steps_are_computed_changes_no_weight(short, tmp_path, capfd, monkeypatch, options, said):
    data, expected = short
    monkeypatch.setattr(learner, "CompiledStep", partial(learner.CompiledStep, backend="eager"))  # only traced
    out = run(capfd, *train_args(data, tmp_path, *SHORT, *options.split()))
    assert said in out
    assert digest(out) == weights_sha256(expected)
    assert list(weights(tmp_path)) == list(expected)
    assert len(list(tmp_path.glob("cache/*"))) == ("disk" in options)


def test_another_seed_gives_other_weights(short, tmp_path, capfd):
    data, other = short
    assert digest(run(capfd, *train_args(data, tmp_path, *SHORT, "--seed", "1"))) != weights_sha256(other)


def test_accumulation_is_one_step(scenes, tmp_path, capfd):
    frozen = ["--fix_bn", "--dropout", "0", "--no-aux", "--max_steps", "1", "--class_uniform_pct", "0", "--amp", "off"]
    run(capfd, *train_args(scenes, tmp_path / "a", *frozen, "--bs_mult", "4"))
    run(capfd, *train_args(scenes, tmp_path / "b", *frozen, "--bs_mult", "2", "--accumulate", "2"))
    a, b = (weights(tmp_path / name) for name in "ab")
    torch.manual_seed(0)
    fresh = network.build_model("fenet_tiny", 4, channels=16, aux=False, dropout=0.0).state_dict()
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-4, atol=1e-6)
    assert not torch.equal(a["head.3.weight"], fresh["head.3.weight"])


@pytest.mark.parametrize(
    "options",
    [
        "--ohem --ohem_min_kept 100 --boundary",
        "--img_wt_loss --batch_weighting --adamw --no_decay_norm_bias",
        "--jointwtborder --strict_bdr_cls 1,2 --rlx_off_epoch 1 --ohem --lr_schedule scl-poly",
        "--amp bf16 --no-channels_last --bblur",
        "--fp16 --freeze_trunk --deterministic",
    ],
)
def test_options_run(scenes, tmp_path, options):
    assert train.main(train_args(scenes, tmp_path, "--test_mode", *options.split())) == 0
    first, second = records(tmp_path)
    assert np.isfinite([first["train_loss"], second["train_loss"]]).all()


def test_frozen_parts_stay(trained, tmp_path):
    frozen = ("--snapshot", str(trained.last), "--freeze_trunk", "--fix_bn", "--max_steps", "2")
    assert train.main(train_args(trained.data, tmp_path, *frozen)) == 0
    before, after = load_snapshot(trained.last)["model"], weights(tmp_path)
    for name in before:
        if name.startswith("encoder.") or "running_" in name or name.endswith(("bn1.weight", "norm.bias")):
            assert torch.equal(before[name], after[name]), name
    assert not torch.equal(before["head.3.weight"], after["head.3.weight"])


def test_boundary_scores_only(trained, tmp_path):
    argv = train_args(trained.data, tmp_path, "--evaluateF", "--eval_thresholds", "0.01,0.1")
    assert train.main(argv) == 2
    assert train.main([*argv, "--snapshot", str(trained.best)]) == 0
    result = json.loads((tmp_path / "run" / "boundary_f_scores.json").read_text())
    assert list(result) == ["0.01", "0.1"]
    assert list(result["0.1"]["per_class"]) == ["sky", "road", "car", "tree"]
    assert 0 <= result["0.01"]["mean_f"] <= result["0.1"]["mean_f"] <= 1
    assert not (tmp_path / "run" / "last.pth").exists()


def test_resume_with_other_options_is_refused_unless_told(scenes, tmp_path, capfd):
    run(capfd, *train_args(scenes, tmp_path, "--max_steps", "1"))
    argv = train_args(scenes, tmp_path, "--max_steps", "2", "--momentum", "0.5")
    assert train.main(argv) == 2
    assert "momentum was 0.9, is 0.5" in capfd.readouterr().err
    run(capfd, *argv, "--resume_override")
    optimizer = load_snapshot(tmp_path / "run" / "last.pth")["training"]["optimizer"]
    assert optimizer["param_groups"][0]["momentum"] == 0.5
    assert json.loads((tmp_path / "run" / "config.json").read_text())["momentum"] == 0.5


def test_validating_on_training_images_is_said(scenes, tmp_path, capfd):
    argv = train_args(scenes, tmp_path, "--max_steps", "1", "--class_uniform_pct", "0", "--resume", "never")
    said = "4 of the 4 images of --val_split val are trained on"
    assert said in run(capfd, *argv, "--train_split", "val")
    assert said not in run(capfd, *argv)
