"""train.py end to end on small folders: what it leaves, and that an interrupted run ends in the same weights."""

import json
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
from engine.inference.compile import CompiledStep
from engine.training import learner
from tests.conftest import make_scenes, train_args
from tests.processes import Job


def digest(text: str) -> str:
    lines = [line for line in text.splitlines() if "final weights sha256: " in line]
    assert len(lines) == 1, text
    return lines[0].rsplit(" ", 1)[1]


def run(capfd, *argv: str) -> str:
    assert train.main(list(argv)) == 0
    return capfd.readouterr().out


def test_what_a_run_leaves(scenes, tmp_path, capfd):
    out = run(capfd, *train_args(scenes, tmp_path))
    folder = tmp_path / "run"
    config = json.loads((folder / "config.json").read_text())
    assert config["arch"] == "fenet_tiny" and config["lr"] == 0.01 and config["weight_decay"] == 1e-4
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line["step"]) for line in lines] == [(0, 4), (1, 8)]
    assert set(lines[0]) == {
        *("epoch", "step", "lr", "train_loss", "images_per_second", "data_wait"),
        *("val_loss", "mean_iou", "pixel_accuracy", "per_class_iou"),
    }
    assert list(lines[0]["per_class_iou"]) == ["sky", "road", "car", "tree"]
    assert 0 < lines[1]["lr"] < lines[0]["lr"] < 0.01
    last, best = load_snapshot(folder / "last.pth"), load_snapshot(folder / "best.pth")
    assert weights_sha256(last["model"]) == digest(out)
    assert best["score"]["mean_iou"] == max(line["mean_iou"] for line in lines)
    assert Image.open(next((folder / "pictures").glob("*.png"))).size == (3 * 64 + 8, 48)
    assert list(folder.glob("events.out.tfevents.*")) and (folder / "log.txt").stat().st_size


@pytest.mark.parametrize("ema", ["0", "0.9"])
def test_logged_score_is_the_score_of_the_saved_file(scenes, tmp_path, ema):
    assert train.main(train_args(scenes, tmp_path, "--ema", ema)) == 0
    argv = ["--snapshot", str(tmp_path / "run" / "best.pth"), "--data_root", str(scenes), "--num_workers", "0"]
    assert evaluation.main([*argv, "--save_dir", str(tmp_path / "eval"), "--device", "cpu"]) == 0
    metrics = json.loads((tmp_path / "eval" / "metrics.json").read_text())
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert metrics["mean_iou"] == max(line["mean_iou"] for line in lines)


STATEFUL = ("--ema", "0.9", "--class_uniform_tile", "32", "--warmup_steps", "3", "--amsgrad", "--adam")


def records(folder) -> list[dict]:
    """metrics.jsonl of `folder/run` without what depends on the machine."""
    lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    return [{name: line[name] for name in line if name not in ("images_per_second", "data_wait")} for line in lines]


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The data set, weights' digest and records of a run with everything that has a state."""
    base = tmp_path_factory.mktemp("straight")
    data = make_scenes(base / "data", 9)
    assert train.main(train_args(data, base, *STATEFUL)) == 0
    return data, weights_sha256(load_snapshot(base / "run" / "last.pth")["model"]), records(base)


@pytest.mark.parametrize("stop_at", [1, 3, 4, 6])
def test_interrupted_run_ends_in_the_same_weights(straight, tmp_path, capfd, stop_at):
    data, weights, expected = straight
    run(capfd, *train_args(data, tmp_path, *STATEFUL, "--max_steps", str(stop_at)))
    out = run(capfd, *train_args(data, tmp_path, *STATEFUL, "--num_workers", "2"))
    assert out.startswith(f"resuming at step {stop_at} from {tmp_path / 'run' / 'last.pth'}\n")
    assert digest(out) == weights
    assert records(tmp_path) == expected


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


def test_seed_decides_everything(scenes, tmp_path, capfd):
    digests = [
        digest(run(capfd, *train_args(scenes, tmp_path / name, "--max_steps", "2", "--seed", seed)))
        for name, seed in (("a", "1"), ("b", "1"), ("c", "2"))
    ]
    assert digests[0] == digests[1] != digests[2]


def test_recomputed_parts_change_no_weight(scenes, tmp_path, capfd):
    extra = ("--max_steps", "2", "--ema", "0.9", "--ohem", "--ohem_min_kept", "100")
    kept = digest(run(capfd, *train_args(scenes, tmp_path / "a", *extra)))
    assert digest(run(capfd, *train_args(scenes, tmp_path / "b", *extra, "--checkpoint_activations"))) == kept


def test_compiled_steps_change_no_weight(scenes, tmp_path, capfd, monkeypatch):
    extra = ("--max_steps", "2", "--ema", "0.9")
    plain = digest(run(capfd, *train_args(scenes, tmp_path / "a", *extra)))
    monkeypatch.setattr(learner, "CompiledStep", partial(CompiledStep, backend="eager"))  # traced, not translated
    out = run(capfd, *train_args(scenes, tmp_path / "b", *extra, "--compile"))
    assert "--compile: same results as without; " in out and digest(out) == plain
    keys = [list(load_snapshot(tmp_path / name / "run" / "last.pth")["model"]) for name in "ab"]
    assert keys[0] == keys[1]


def test_accumulation_is_one_step(scenes, tmp_path, capfd):
    frozen = ["--fix_bn", "--dropout", "0", "--no-aux", "--max_steps", "1", "--class_uniform_pct", "0"]
    run(capfd, *train_args(scenes, tmp_path / "a", *frozen, "--bs_mult", "4"))
    run(capfd, *train_args(scenes, tmp_path / "b", *frozen, "--bs_mult", "2", "--accumulate", "2"))
    a, b = (load_snapshot(tmp_path / name / "run" / "last.pth")["model"] for name in "ab")
    torch.manual_seed(0)
    fresh = network.build_model("fenet_tiny", 4, channels=16, aux=False, dropout=0.0).state_dict()
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-4, atol=1e-6)
    assert not torch.equal(a["head.3.weight"], fresh["head.3.weight"])


@pytest.mark.parametrize(
    "extra",
    [
        ("--ohem", "--ohem_min_kept", "100", "--boundary"),
        ("--img_wt_loss", "--batch_weighting", "--adamw", "--no_decay_norm_bias"),
        ("--jointwtborder", "--strict_bdr_cls", "1,2", "--rlx_off_epoch", "1", "--ohem", "--lr_schedule", "scl-poly"),
        ("--amp", "bf16", "--no-channels_last", "--bblur"),
        ("--fp16", "--freeze_trunk", "--deterministic"),
    ],
    ids=lambda extra: extra[0].strip("-"),
)
def test_options_run(scenes, tmp_path, extra):
    assert train.main(train_args(scenes, tmp_path, "--test_mode", *extra)) == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 2 and all(np.isfinite(line["train_loss"]) for line in lines)


def test_frozen_parts_stay(scenes, tmp_path):
    assert train.main(train_args(scenes, tmp_path / "a", "--max_steps", "1", "--seed", "5")) == 0
    start = tmp_path / "a" / "run" / "last.pth"
    argv = train_args(
        scenes, tmp_path / "b", "--snapshot", str(start), "--freeze_trunk", "--fix_bn", "--max_steps", "2"
    )
    assert train.main(argv) == 0
    before, after = load_snapshot(start)["model"], load_snapshot(tmp_path / "b" / "run" / "last.pth")["model"]
    for name in before:
        frozen = name.startswith("encoder.") or "running_" in name or name.endswith(("bn1.weight", "norm.bias"))
        assert torch.equal(before[name], after[name]) or not frozen, name
    assert not torch.equal(before["head.3.weight"], after["head.3.weight"])


def test_start_from_a_snapshot_with_its_optimizer(scenes, tmp_path, capfd):
    whole = digest(run(capfd, *train_args(scenes, tmp_path / "a")))
    run(capfd, *train_args(scenes, tmp_path / "b", "--max_steps", "3"))
    snapshot = str(tmp_path / "b" / "run" / "last.pth")
    out = run(capfd, *train_args(scenes, tmp_path / "c", "--snapshot", snapshot, "--restore_optimizer"))
    assert out.startswith("resuming at step 3 from") and digest(out) == whole


def test_dump_augmentation_images(scenes, tmp_path):
    assert train.main(train_args(scenes, tmp_path, "--max_steps", "1", "--dump_augmentation_images")) == 0
    pictures = list((tmp_path / "run" / "augmented").glob("*.png"))
    assert len(pictures) == 8 and Image.open(pictures[0]).size == (2 * 32 + 4, 32)


def test_boundary_scores_only(trained, tmp_path):
    argv = train_args(trained.data, tmp_path, "--evaluateF", "--eval_thresholds", "0.01,0.1")
    assert train.main(argv) == 2
    assert train.main([*argv, "--snapshot", str(trained.best)]) == 0
    result = json.loads((tmp_path / "run" / "boundary_f_scores.json").read_text())
    assert list(result) == ["0.01", "0.1"]
    assert list(result["0.1"]["per_class"]) == ["sky", "road", "car", "tree"]
    assert 0 <= result["0.01"]["mean_f"] <= result["0.1"]["mean_f"] <= 1
    assert not (tmp_path / "run" / "last.pth").exists()


@pytest.mark.parametrize("cache", ["ram", "disk"])
def test_a_cache_changes_nothing(scenes, tmp_path, capfd, cache):
    plain = digest(run(capfd, *train_args(scenes, tmp_path / "a", "--max_steps", "3")))
    out = run(capfd, *train_args(scenes, tmp_path / "b", "--max_steps", "3", "--cache", cache, "--num_workers", "1"))
    assert digest(out) == plain and "for the pixels of 9 samples of folder train" in out
    assert len(list((tmp_path / "b").glob("cache/*"))) == (cache == "disk")


def test_augmentation_in_the_step_resumes_exactly_and_is_drawn(scenes, tmp_path, capfd):
    extra = ["--augment", "device", "--dump_augmentation_images"]
    whole = digest(run(capfd, *train_args(scenes, tmp_path / "a", *extra)))
    run(capfd, *train_args(scenes, tmp_path / "b", *extra, "--max_steps", "3"))
    out = run(capfd, *train_args(scenes, tmp_path / "b", *extra, "--num_workers", "2", "--cache", "disk"))
    assert digest(out) == whole
    assert Image.open(tmp_path / "a" / "run" / "augmented" / "0000.png").size == (2 * 32 + 4, 32)


def test_resume_with_other_options_is_refused_unless_told(scenes, tmp_path, capfd):
    run(capfd, *train_args(scenes, tmp_path, "--max_steps", "1"))
    argv = train_args(scenes, tmp_path, "--max_steps", "2", "--momentum", "0.5")
    assert train.main(argv) == 2
    assert "momentum was 0.9, is 0.5" in capfd.readouterr().err
    run(capfd, *argv, "--resume_override")
    optimizer = load_snapshot(tmp_path / "run" / "last.pth")["training"]["optimizer"]
    assert optimizer["param_groups"][0]["momentum"] == 0.5
    assert json.loads((tmp_path / "run" / "config.json").read_text())["momentum"] == 0.5


@pytest.mark.parametrize(("trained", "said"), [("val", True), ("train", False)])
def test_validating_on_training_images_is_said(scenes, tmp_path, trained, said, capfd):
    arguments = train_args(scenes, tmp_path, "--max_steps", "1", "--class_uniform_pct", "0")
    assert train.main([*arguments, "--train_split", trained]) == 0
    assert ("4 of the 4 images of --val_split val are trained on" in capfd.readouterr().out) == said
