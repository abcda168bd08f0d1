"""Models on timm's encoders through the entry points: trained, resumed, evaluated, drawn."""

import json

import pytest
import torch
from PIL import Image

import demo_folder
import eval as evaluation
import network
import train
from engine.checkpoint.snapshot import load_snapshot, save_snapshot
from engine.inference.predictor import black_of
from tests.conftest import THREE_CLASSES, eval_args, train_args
from utils.optional import import_torchvision

import_torchvision()
pytest.importorskip("timm")
SCALE = {"mean": [0.3] * 3, "std": [0.4] * 3}  # unlike any that timm has


@pytest.fixture
def weights(tmp_path):
    """A snapshot whose encoder is used to images of an unusual scale."""
    model = network.build_model("fenet", 3, backbone="test_resnet", channels=8, **SCALE)
    content = {"config": model.config, "classes": THREE_CLASSES, "model": model.state_dict()}
    save_snapshot(tmp_path / "weights.pth", content | {"average": None})
    return str(tmp_path / "weights.pth")


def args(scenes, out, weights, *more):
    return [
        *train_args(scenes, out, "--arch", "fenet", "--backbone", "test_resnet", "--pretrained", weights, *more),
        *("--class_uniform_pct", "0", "--max_epoch", "1"),
    ]


@pytest.mark.slow
def test_a_run_keeps_scale_and_provenance_and_resumes_exactly(scenes, tmp_path, weights, capfd):
    assert train.main(args(scenes, tmp_path / "a", weights)) == 0
    digest = capfd.readouterr().out.rsplit("final weights sha256: ", 1)[1]
    assert train.main(args(scenes, tmp_path / "b", weights, "--max_steps", "2")) == 0
    assert "0 random; sha256 " in capfd.readouterr().out
    assert train.main(args(scenes, tmp_path / "b", weights)) == 0
    out = capfd.readouterr().out
    assert "resuming at step 2" in out and out.rsplit("final weights sha256: ", 1)[1] == digest

    config = load_snapshot(tmp_path / "b" / "run" / "best.pth")["config"]
    assert config["options"]["mean"] == SCALE["mean"] and config["options"]["backbone"] == "test_resnet"
    assert config["pretrained"]["source"] == weights and config["pretrained"]["random"] == []
    assert json.loads((tmp_path / "b" / "run" / "config.json").read_text())["backbone"] == "test_resnet"
    another = [*args(scenes, tmp_path / "b", weights), "--backbone", "test_convnext"]
    assert train.main(another) == 4 and "backbone was test_resnet" in capfd.readouterr().err


@pytest.mark.slow
def test_evaluation_and_demo_take_the_scale_from_the_snapshot(scenes, tmp_path, weights):
    assert train.main(args(scenes, tmp_path, weights)) == 0
    best = str(tmp_path / "run" / "best.pth")
    assert evaluation.main(eval_args(best, scenes, tmp_path / "eval")) == 0
    line = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert json.loads((tmp_path / "eval" / "metrics.json").read_text())["mean_iou"] == line["mean_iou"]
    folder = str(scenes / "images" / "val")
    assert demo_folder.main(["--demo_folder", folder, "--snapshot", best, "--save_dir", str(tmp_path / "demo")]) == 0
    assert list((tmp_path / "demo").glob("overlay_*.png"))


def test_padding_is_black_at_the_models_scale():
    model = network.build_model("fenet", 3, backbone="test_resnet", channels=8, **SCALE)
    assert black_of(model) == pytest.approx((-0.75,) * 3)
    assert black_of(lambda x: x) == pytest.approx((-2.1179, -2.0357, -1.8044), abs=1e-4)


def test_pictures_have_the_colours_of_the_images(scenes, tmp_path, weights):
    assert train.main(args(scenes, tmp_path, weights)) == 0
    picture = next((tmp_path / "run" / "pictures").glob("*.png"))
    drawn = torch.tensor(list(Image.open(picture).crop((0, 0, 64, 48)).tobytes())).float()
    name = picture.name
    image = torch.tensor(list(Image.open(scenes / "images" / "val" / name).convert("RGB").tobytes())).float()
    assert (drawn - image).abs().max() <= 1


def test_peer_is_trained_and_evaluated_by_the_same_commands(scenes, tmp_path):
    pytest.importorskip("segmentation_models_pytorch")
    argv = train_args(scenes, tmp_path, "--arch", "smp_fpn", "--backbone", "test_resnet", "--max_epoch", "1")
    argv = [arg for i, arg in enumerate(argv) if "--channels" not in (arg, argv[i - 1])]
    assert train.main(argv) == 0
    more = ["--inference_mode", "sliding", "--crop_size", "40"]
    assert evaluation.main(eval_args(tmp_path / "run" / "best.pth", scenes, tmp_path / "eval", *more)) == 0
    assert 0 <= json.loads((tmp_path / "eval" / "metrics.json").read_text())["mean_iou"] <= 1


@pytest.mark.parametrize(
    ("more", "code", "word"),
    [
        (["--backbone", "resnet19"], 2, "close names"),
        (["--backbone", "test_resnet", "--pretrained", "nothing.pth"], 2, "no such file"),
        (["--arch", "fenet_r18", "--backbone", "test_resnet"], 2, "encoder of its own"),
    ],
)
def test_wrong_options_are_one_line(scenes, tmp_path, capfd, more, code, word):
    assert train.main(train_args(scenes, tmp_path, "--arch", "fenet", *more)) == code
    error = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(error) == 1 and word in error[0]
