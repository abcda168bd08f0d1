"""Links, odd names and wrong suffixes: read where that is sound, named where it is not."""

import os

import pytest

import datasets
from datasets import folder
from datasets.dataset import EvaluationDataset
from datasets.layout import list_files
from datasets.loader import build_eval_loader
from tests.datasets import trees
from transforms import build_eval_transform
from utils.errors import DataError


def test_a_link_back_to_a_folder_it_lies_in_is_named(tmp_path):
    trees.make_folder(tmp_path, ["a/1", "a/2"])
    (tmp_path / "images" / "a" / "again").symlink_to(tmp_path / "images")
    with pytest.raises(DataError, match="images/a/again.*link back to .*/images, in which it lies") as caught:
        folder.build_split(tmp_path, "train")
    assert "\n" not in str(caught.value)


def test_a_loop_over_two_folders_is_named(tmp_path):
    trees.make_folder(tmp_path / "data", ["a"])
    for here, there in (("data/images", "elsewhere"), ("elsewhere", "data/images")):
        (tmp_path / here).mkdir(exist_ok=True)
        (tmp_path / here / "next").symlink_to(tmp_path / there)
    with pytest.raises(DataError, match="images/next/next.*link back"):
        folder.build_split(tmp_path / "data", "train")


@pytest.mark.parametrize("target", ["gone.png", "2.png"])
def test_a_link_to_nothing_or_to_itself_is_named(target, tmp_path):
    trees.make_folder(tmp_path, ["1"])
    (tmp_path / "images" / "2.png").symlink_to(tmp_path / "images" / target)
    with pytest.raises(DataError, match="images/2.png: a link to .*mend"):
        folder.build_split(tmp_path, "trainval")


def test_linked_files_and_folders_are_samples(tmp_path):
    trees.make_folder(tmp_path / "real", ["1", "2"])
    for kind in ("images", "masks"):
        (tmp_path / "data" / kind).mkdir(parents=True)
        (tmp_path / "data" / kind / "one").symlink_to(tmp_path / "real" / kind)
        (tmp_path / "data" / kind / "two").symlink_to(tmp_path / "real" / kind)
        (tmp_path / "data" / kind / "3.png").symlink_to(tmp_path / "real" / kind / "1.png")
    trees.make_folder(tmp_path / "data", [])
    split = folder.build_split(tmp_path / "data", "trainval")
    assert split.names == ["3", "one/1", "one/2", "two/1", "two/2"]


def test_names_of_any_kind_reach_the_batch(tmp_path):
    names = ["straße ö", "街/道路", "a.b.c", "%s{0}", os.fsdecode(b"latin\xe4")]
    trees.make_folder(tmp_path, names, value=3)
    split = folder.build_split(tmp_path, "trainval")
    assert split.names == sorted(names)
    dataset = EvaluationDataset(split, build_eval_transform())
    batches = list(build_eval_loader(dataset, range(len(names)), num_workers=1))
    assert [name for batch in batches for name in batch["name"]] == sorted(names)
    assert len(split.fingerprint()) == 64


def test_a_mask_of_the_wrong_suffix_is_named(tmp_path):
    trees.make_folder(tmp_path, ["1", "2"])
    (tmp_path / "masks" / "2.png").rename(tmp_path / "masks" / "2.jpg")
    with pytest.raises(DataError, match=r"masks/2.png: .*missing.*2.jpg is there, but labels are PNG"):
        folder.build_split(tmp_path, "trainval")


def test_an_image_of_the_wrong_suffix_leaves_a_label_that_is_named(tmp_path):
    trees.make_kitti(tmp_path)
    (tmp_path / "training" / "image_2" / "000002_10.png").rename(tmp_path / "training" / "image_2" / "000002_10.heic")
    with pytest.raises(DataError, match=r"semantic/000002_10.png: label without an image .*\.jpg"):
        datasets.build_split("kitti", tmp_path, "train")


def test_a_tail_is_no_part_of_the_name(tmp_path):
    for name in ("x_left.png", "x_right.png", "deep/y_left.JPG", "left.png"):
        trees.save(tmp_path / name, trees.rgb(0))
    assert list(list_files(tmp_path, nested=True, tail="_left")) == ["deep/y", "x"]


def test_a_name_that_is_nothing_but_a_tail_is_named(tmp_path):
    trees.save(tmp_path / "deep" / "_left.png", trees.rgb(0))
    with pytest.raises(DataError, match="deep/_left.png: has no name before '_left'; rename or remove it"):
        list_files(tmp_path, nested=True, tail="_left")


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("datasets.layout.os.scandir", refuse)
    with pytest.raises(DataError, match=f"{tmp_path}: cannot be listed .Permission denied.; check"):
        list_files(tmp_path)
