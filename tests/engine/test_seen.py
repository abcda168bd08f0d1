"""A score of images that were trained on is said to be one."""

import shutil

import datasets
import eval as evaluation
import train
from datasets.options import DataOptions
from datasets.part import limit_images
from engine.checkpoint.snapshot import load_snapshot, save_snapshot
from engine.evaluation.seen import describe_training, seen_images, warn_of_seen
from tests.conftest import eval_args, train_args
from tests.datasets import trees
from utils.logging import setup_logging


def test_names_that_begin_anew_in_each_split_are_other_images(tmp_path):
    for part in ("train", "val"):
        trees.make_folder(tmp_path, ["0", "1"], part=part)
    trained_on = {"dataset": "folder", "split": "train", "cv": 0}
    for part, known in (("train", {"0", "1"}), ("val", set()), ("trainval", {"train/0", "train/1"})):
        split = datasets.build_split("folder", tmp_path, part)
        assert seen_images(trained_on, "folder", tmp_path, split) == known
    assert not seen_images(trained_on, "camvid", tmp_path, split)
    split, data = datasets.build_split("folder", tmp_path, "train"), DataOptions(dataset="folder", limit_images=1)
    known = describe_training(data, limit_images(split, 1))
    assert len(seen_images(known, "folder", tmp_path, split)) == 1
    trees.save(tmp_path / "masks" / "train" / "0.png", trees.gray(0, 8, 8))  # labels may be mended
    assert len(seen_images(known, "folder", tmp_path, datasets.build_split("folder", tmp_path, "train"))) == 1
    for name in split.names:  # as a folder of other photos
        trees.save(tmp_path / "images" / "train" / f"{name}.png", trees.noise(90, 90))
    assert not seen_images(known, "folder", tmp_path, datasets.build_split("folder", tmp_path, "train"))
    shutil.rmtree(tmp_path / "images" / "train")  # photos that came later, alone
    assert not seen_images(trained_on, "folder", tmp_path, datasets.build_split("folder", tmp_path, "val"))


def test_another_fold_s_score_is_warned_of(tmp_path, capsys):
    setup_logging(True)
    trees.make_kitti(tmp_path, 20)
    trained_on = {"dataset": "kitti", "split": "train", "cv": 1}
    for cv in (1, 0):
        split = datasets.build_split("kitti", tmp_path, "val", cv)
        warn_of_seen(trained_on, "kitti", tmp_path, split, cv)
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in said] == ["WARNING"]
    assert f"{len(split)} of the {len(split)} images of val were trained on, in train:" in said[0]
    assert said[0].endswith("; the run's own is --cv_split 1")


def test_eval_says_what_a_snapshot_was_trained_on(trained, tmp_path, capsys):
    trained_on = load_snapshot(trained.best)["trained_on"]
    assert (trained_on["dataset"], trained_on["split"], trained_on["cv"]) == ("folder", "train", 0)
    for split, warned in (("val", False), ("trainval", True)):
        assert evaluation.main(eval_args(trained.best, trained.data, tmp_path / split, "--split", split)) == 0
        assert ("trained on, in train: the score says little" in capsys.readouterr().out) == warned


def test_a_run_says_that_its_start_and_its_teacher_know_what_it_validates_on(trained, tmp_path, capsys):
    known = ("--snapshot", str(trained.best), "--teacher", str(trained.best), "--max_steps", "1")
    for split, times in (("val", 0), ("trainval", 2)):
        assert train.main(train_args(trained.data, tmp_path, "--exp", split, "--val_split", split, *known)) == 0
        said = [line for line in capsys.readouterr().out.splitlines() if "were trained on there, in train" in line]
        assert len(said) == times
    assert said[0].startswith(f"WARNING: --snapshot {trained.best}: ") and " images of trainval " in said[0]
    assert said[1].startswith(f"WARNING: --teacher {trained.best}: ")


def test_prediction_says_at_which_size_a_run_validated(trained, tmp_path, capsys):
    content = load_snapshot(trained.best)
    assert content["trained_on"]["base_size"] is None
    path = tmp_path / "a.pth"
    save_snapshot(path, content | {"trained_on": content["trained_on"] | {"base_size": 48}})
    said = f"{path}: its run validated at --base_size 48; here images come in their own size"
    for more, noted in ((), True), (("--base_size", "32"), False):
        assert evaluation.main(eval_args(path, trained.data, tmp_path / "out", "--test_mode", *more)) == 0
        assert (said in capsys.readouterr().out) == noted
