"""The doctor on healthy and damaged data: each damage is found, the right file is named, the exit code fits."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import config
import train
from datasets.checks.crops import Crop, padded_share
from engine.training.build import adapt_model, create_model
from engine.training.memory import StepMemory, saved_bytes
from loss import build_loss
from scripts import doctor
from tests.conftest import make_scenes, train_args
from tests.datasets import trees
from utils.distributed import Process

SMALL = ["--arch", "fenet_tiny", "--channels", "16", "--crop_size", "32", "--device", "cpu", "--num_workers", "0"]


def visit(tmp_path, dataset, root, *more, rehearse=False):
    """Exit code, and what the JSON file says."""
    argv = ["--dataset", dataset, "--data_root", str(root), "--json", str(tmp_path / "doctor.json"), *SMALL]
    code = doctor.main([*argv, *([] if rehearse else ["--no-rehearsal"]), *map(str, more)])
    return code, json.loads((tmp_path / "doctor.json").read_text())


def found(report, severity):
    return [finding for finding in report["findings"] if finding["severity"] == severity]


def test_a_healthy_tree_passes_and_is_rehearsed(tmp_path, scenes, capsys):
    before = sorted(scenes.rglob("*"))
    code, report = visit(tmp_path, "folder", scenes, rehearse=True)
    assert code == 0 and report["usable"] and not found(report, "error")
    rehearsed = [finding for finding in report["findings"] if finding["check"] == "Rehearsal"]
    assert [finding["severity"] for finding in rehearsed] == ["ok"] and "2 steps" in rehearsed[0]["what"]
    assert report["details"]["counts"] == {"train": 9, "val": 4} and sorted(scenes.rglob("*")) == before
    assert sum(row["pixels"] for row in report["details"]["classes"]) == pytest.approx(1)
    assert "0 errors" in capsys.readouterr().out.splitlines()[-1]


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGES = {
    "images/train/003.png": cut,
    "images/val/001.png": lambda path: path.write_bytes(b""),
    "masks/train/004.png": cut,
    "masks/train/005.png": lambda path: trees.save(path, trees.gray(77, 48, 64)),
    "masks/val/000.png": lambda path: trees.save(path, trees.gray(1, 40, 64)),
    "masks/train/006.png": lambda path: trees.save(path, trees.rgb(1, 48, 64) * np.array([1, 2, 3], np.uint8)),
    "masks/train/007.png": lambda path: trees.save(path, np.full((48, 64), 999, np.uint16)),
    "masks/train/008.png": lambda path: path.unlink(),
    "images/train/009.png": lambda path: path.unlink(),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_one_damage_is_named(tmp_path, name):
    root = make_scenes(tmp_path / "data", 10)
    DAMAGES[name](root / name)
    code, report = visit(tmp_path, "folder", root)
    errors = found(report, "error")
    # of an image that is gone its label is named, which is alone now
    culprit = str(root / name).replace("images/train/009", "masks/train/009")
    assert code == 3 and not report["usable"] and len(errors) == 1
    assert len(errors[0]["where"]) == 1 and errors[0]["where"][0].startswith(culprit) and errors[0]["remedy"]


def test_all_damages_are_named_at_once_and_the_rest_is_rehearsed(tmp_path, capsys):
    root = make_scenes(tmp_path / "data", 14)
    for name, damage in DAMAGES.items():
        damage(root / name)
    code, report = visit(tmp_path, "folder", root, rehearse=True)
    said = "\n".join(line for finding in found(report, "error") for line in finding["where"])
    assert code == 3
    for name in DAMAGES:
        assert name.replace("images/train/009", "masks/train/009") in said
    assert report["findings"][-1]["check"] == "Rehearsal" and report["findings"][-1]["severity"] == "ok"
    assert f"{root}/" not in capsys.readouterr().out.split("\n", 1)[1]  # files are named from the root on


def test_train_ids_in_place_of_label_ids(tmp_path):
    cities = {"train": ["a", "b"], "val": ["c"], "test": ["d"]}
    root = trees.make_cityscapes(tmp_path / "data", cities)
    for path in (root / "gtFine").rglob("*.png"):
        trees.save(path, np.array([[0, 26]] if "/a/" not in str(path) else [[0, 255]], np.uint8).repeat(3, 0))
    for path in (root / "leftImg8bit").rglob("*.png"):
        trees.save(path, trees.rgb(len(path.stem), 3, 2))
    code, report = visit(tmp_path, "cityscapes", root)
    (error,) = found(report, "error")
    assert code == 3 and "train ids" in error["what"] and "labelIds" in error["remedy"]
    assert sorted(error["where"]) == sorted(map(str, (root / "gtFine" / "train" / "a").iterdir()))
    assert {finding["what"].split(";")[-1] for finding in found(report, "warning")} >= {" published are 2975"}


def test_no_high_id_anywhere_is_suspicious(tmp_path):
    root = trees.make_cityscapes(tmp_path / "data", {"train": ["a", "b"], "val": ["c"], "test": ["d"]})
    code, report = visit(tmp_path, "cityscapes", root)
    assert code == 0 and any("no label holds an id above 18" in row["what"] for row in found(report, "warning"))


def test_duplicates_are_found_among_files_that_were_not_read(tmp_path):
    root = make_scenes(tmp_path / "data", 12)
    shutil.copy(root / "images" / "train" / "007.png", root / "images" / "val" / "002.png")
    for more in (["--full"], ["--sample", "6"]):  # of 12 training images, and all 6 of val
        code, report = visit(tmp_path, "folder", root, *more)
        twins = [row["where"] for row in found(report, "warning") if "training images too" in row["what"]]
        assert code == 0 and twins == [[f"{root}/images/val/002.png = {root}/images/train/007.png"]]


def test_absent_and_rare_classes(tmp_path, scenes):
    listed = json.loads((scenes / "classes.json").read_text())
    listed["classes"] += [{"name": "unicorn", "id": 8}]
    (scenes / "classes.json").write_text(json.dumps(listed))
    code, report = visit(tmp_path, "folder", scenes)
    (warning,) = found(report, "warning")
    assert code == 0 and "no pixel of class unicorn (id 8) in the labels; they hold" in warning["what"]


def test_crop_and_tile(tmp_path, scenes):
    _, report = visit(tmp_path, "folder", scenes, "--crop_size", "256", "--class_uniform_tile", "512")
    warnings = " ".join(row["what"] + row["remedy"] for row in found(report, "warning") + found(report, "note"))
    assert "--crop_size 256,256" in warnings and "--crop_size 32" in warnings and "--class_uniform_tile 48" in warnings


@pytest.mark.parametrize(
    ("size", "crop", "scales", "expected"),
    [((10, 10), (10, 10), (1, 1), 0), ((10, 10), (20, 10), (1, 1), 0.5), ((10, 10), (20, 20), (1, 1), 0.75),
     ((30, 30), (20, 20), (1, 2), 0), ((10, 10), (10, 10), (0.5, 0.5), 0.75)],
)  # fmt: skip
def test_padding(size, crop, scales, expected):
    assert padded_share([size], Crop(crop, scales)) == pytest.approx(expected)
    assert padded_share([(3 * size[0], 3 * size[1])], Crop(crop, scales, size[0])) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("arch", "more", "places"),
    [
        ("fenet_r18", [], [(96, 3), (256, 2)]),
        ("fenet_tiny", ["--amp", "bf16", "--ohem"], [(96, 2), (160, 2)]),
        ("fenet_tiny", ["--checkpoint_activations"], [(96, 2), (160, 2)]),
        ("smp_pan", [], [(192, 2)]),  # pads to 128
    ],
)
def test_the_memory_formula_gives_what_a_step_saves(arch, more, places):
    options = config.parse_train(["--arch", arch, "--device", "cpu", *more])
    model = adapt_model(create_model(options, 19), options, Process(0, 1, torch.device("cpu"))).train()
    criterion = build_loss(options.loss, 19)
    step = StepMemory(model, criterion, 19, options)
    amp = torch.bfloat16 if "--amp" in more else None
    for side, batch in places:
        measured = saved_bytes(model, criterion, 19, batch, side, amp)
        assert step.saved(batch, side, side) == pytest.approx(measured, rel=0.01)
    limit = step.total(4, 256, 256)
    assert step.largest_batch(limit * 1.0001, 256, 256) == 4 and step.largest_crop(limit * 1.0001, 4) == 256
    assert step.largest_crop(0, 4) == 0


def test_too_little_memory_names_flags_that_fit(tmp_path, scenes):
    _, report = visit(tmp_path, "folder", scenes, "--crop_size", "512", "--bs_mult", "8", "--gpu_memory", "1")
    (finding,) = [row for row in found(report, "warning") if row["check"] == "Memory"]
    assert (
        "--amp bf16" in finding["remedy"] and "--accumulate" in finding["remedy"] and "--crop_size" in finding["remedy"]
    )
    assert report["details"]["memory"]["available_bytes"] == 2**30


def test_snapshots(tmp_path, scenes):
    assert train.main(train_args(scenes, tmp_path / "out", "--max_steps", "1")) == 0
    path = tmp_path / "out" / "run" / "last.pth"
    root = ["--dataset", "folder", "--data_root", str(scenes), "--no-rehearsal", "--json", str(tmp_path / "r.json")]
    assert doctor.main([*root, "--snapshot", str(path)]) == 0  # arch and its options are the snapshot's
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["arch"] == "fenet_tiny" and report["details"]["snapshot"]["missing"] == []
    other = ["--snapshot", str(path), "--arch", "fenet_tiny", "--channels", "8"]
    assert doctor.main([*root, *other]) == 0
    report = json.loads((tmp_path / "r.json").read_text())
    assert [row["severity"] for row in report["findings"] if row["check"] == "Snapshot"] == ["ok", "warning"]
    assert doctor.main([*root, "--snapshot", str(tmp_path / "none.pth")]) == 4
    for wrong, code in (
        (["--pretrained", str(tmp_path / "none.pth"), "--arch", "fenet_tiny"], 2),
        (["--pretrained", "imagenet", "--arch", "fenet_r18"], 2),  # timm has no twin
        (["--resume", str(tmp_path / "none.pth"), "--arch", "fenet_tiny"], 4),
        (["--snapshot", str(tmp_path / "out" / "run" / "best.pth"), "--restore_optimizer"], 4),
    ):
        assert doctor.main([*root, *wrong]) == code
    listed = json.loads((scenes / "classes.json").read_text())
    listed["classes"][0]["name"] = "heaven"
    (scenes / "classes.json").write_text(json.dumps(listed))
    assert doctor.main([*root, "--snapshot", str(path)]) == 0
    assert "new: heaven" in (tmp_path / "r.json").read_text()


def test_a_run_that_can_t_work_fails_in_the_rehearsal(tmp_path, scenes):
    code, report = visit(tmp_path, "folder", scenes, "--lr", "1e30", rehearse=True)
    (error,) = found(report, "error")
    assert code == 6 and error["check"] == "Rehearsal" and "--lr" in error["where"][0]


def test_a_global_batch_that_one_process_can_not_make_is_warned_of(tmp_path, scenes):
    code, report = visit(tmp_path, "folder", scenes, "--bs_mult", "2", "--global_batch", "200")
    said = [finding["what"] for finding in found(report, "warning")]
    assert code == 0 and any("a run on one process is refused: --accumulate 100" in what for what in said)


@pytest.mark.parametrize(
    "flags,said",
    [
        (("--limit_images", "3", "--bs_mult", "4"), "an epoch of 3 samples fills no batch"),
        (("--limit_images", "100"), "--limit_images 100: folder train has"),
        (("--coarse_boost_classes", "1"), "data set folder has no coarse labels"),
    ],
)
def test_a_choice_of_images_that_train_py_refuses_is_an_error(tmp_path, scenes, flags, said):
    code, report = visit(tmp_path, "folder", scenes, *flags)
    assert code == 2 and [said in finding["what"] for finding in found(report, "error")] == [True]


@pytest.mark.slow
def test_reflected_padding_is_rehearsed_on_maps_that_it_fits(tmp_path):
    scenes = make_scenes(tmp_path / "data", 6, 320, 320)
    model = ["--filter_padding", "reflect", "--no-aux", "--bs_mult", "2"]
    for crop, code in ((256, 0), (96, 2)):
        found_code, _ = visit(tmp_path, "folder", scenes, *model, "--crop_size", crop, rehearse=True)
        assert found_code == code


def test_no_data_and_wrong_options(tmp_path, capsys):
    code, report = visit(tmp_path, "camvid", tmp_path / "nowhere")
    assert code == 3 and len(found(report, "error")) == 1 and "--data_root" in found(report, "error")[0]["where"][0]
    for argv in (
        ["--dataset", "pascal"],
        ["--sample", "0"],
        ["--gpu_memory", "0"],
        ["--nonsense"],
        ["--manifest", "x"],
    ):
        assert doctor.main([*argv, "--no-rehearsal"]) == 2
        assert capsys.readouterr().err.startswith("error: ")


def test_time_that_runs_out_is_said(tmp_path, scenes, monkeypatch):
    monkeypatch.setattr(doctor, "SAMPLE_SECONDS", -1)
    code, report = visit(tmp_path, "folder", scenes)
    assert code == 0 and any("--full" in row["remedy"] for row in found(report, "note"))
    code, report = visit(tmp_path, "folder", scenes, "--full")
    assert code == 0 and report["details"]["sizes"] == {"train": {"64x48": 9}, "val": {"64x48": 4}}


def test_manifest(tmp_path, scenes, capsys):
    argv = ["--dataset", "folder", "--data_root", str(scenes), "--manifest"]
    assert doctor.main([*argv, "verify"]) == 3
    assert doctor.main([*argv, "write"]) == 0 and doctor.main([*argv, "verify"]) == 0
    image = scenes / "images" / "train" / "001.png"
    content = bytearray(image.read_bytes())
    content[-1] ^= 1
    image.write_bytes(content)
    capsys.readouterr()
    assert doctor.main([*argv, "verify"]) == 3
    assert "changed  images/train/001.png" in capsys.readouterr().out
    elsewhere = ["--manifest_file", str(tmp_path / "m.jsonl")]
    assert doctor.main([*argv, "write", *elsewhere]) == doctor.main([*argv, "verify", *elsewhere]) == 0


def test_the_recipe_s_options_are_taken_whole(tmp_path, scenes):
    own, options = doctor.parse(["--dataset", "folder", "--bs_mult", "1", "--ohem", "--full", "--seed", "3"])
    assert own.full and options.loss.ohem and options.schedule.bs_mult == 1 and options.compute.seed == 3
    # one GPU of several has a batch of 1
    more = ["--bs_mult", "1", "--augment", "device", "--cache", "disk", "--ckpt", tmp_path / "out"]
    code, _ = visit(tmp_path, "folder", scenes, *more, rehearse=True)
    assert code == 0 and not (tmp_path / "out").exists()


@trees.needs_camvid
def test_the_real_camvid_is_healthy(tmp_path):
    code, report = visit(tmp_path, "camvid", trees.REAL_CAMVID, "--sample", "4")
    assert code == 0 and report["details"]["counts"] == {"train": 367, "val": 101, "test": 233}
    assert not found(report, "error") + found(report, "warning")
    assert {Image.open(next((trees.REAL_CAMVID / "train").iterdir())).size} == {(480, 360)}
