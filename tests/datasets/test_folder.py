"""A user's own folder: splits, the hashed pool, the class table."""

import pytest

import datasets
from datasets import folder
from tests.datasets import trees
from utils.errors import DataError

POOL = [f"drive{i % 3}/frame{i:03d}" for i in range(300)]


def test_a_pool_is_divided_by_name_and_the_division_is_stable(tmp_path):
    trees.make_folder(tmp_path, POOL)
    train, val, both = (folder.build_split(tmp_path, name).names for name in ("train", "val", "trainval"))
    assert sorted(train + val) == both == sorted(POOL)
    assert 0.12 < len(val) / len(POOL) < 0.28
    trees.make_folder(tmp_path, ["drive9/late"])
    assert set(val) <= set(folder.build_split(tmp_path, "val").names)
    assert set(train) <= set(folder.build_split(tmp_path, "train").names)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_both_sides_of_a_small_pool_have_an_image(count, tmp_path):
    trees.make_folder(tmp_path, [f"x{i}" for i in range(count)])
    sizes = [len(folder.build_split(tmp_path, name)) for name in ("train", "val")]
    assert min(sizes) >= 1 and sum(sizes) == count


def test_a_pool_of_one_is_refused(tmp_path):
    trees.make_folder(tmp_path, ["only"])
    with pytest.raises(DataError, match="can't be divided"):
        folder.build_split(tmp_path, "train")


def test_split_folders_are_the_splits_and_names_keep_their_path(tmp_path):
    trees.make_folder(tmp_path, ["a", "deep/er/b"], part="train")
    trees.make_folder(tmp_path, ["c"], part="val", value=3)
    assert folder.build_split(tmp_path, "train").names == ["a", "deep/er/b"]
    val = folder.build_split(tmp_path, "val")
    assert val.names == ["c"] and val.load_label(0)[0, 0] == 1
    assert folder.build_split(tmp_path, "trainval").names == ["a", "deep/er/b", "c"]


def test_names_that_begin_anew_in_each_split_are_told_apart(tmp_path):
    for part, names in (("train", ["0", "1"]), ("val", ["0"])):
        trees.make_folder(tmp_path, names, part=part)
    both = folder.build_split(tmp_path, "trainval")
    assert both.names == ["train/0", "train/1", "val/0"] and both.items[2].label == tmp_path / "masks/val/0.png"
    assert folder.build_split(tmp_path, "val").names == ["0"]


def test_all_splits_are_read_by_the_rules_of_train(tmp_path):
    for part in ("train", "val"):
        trees.make_folder(tmp_path, ["0"], part=part)
    rules = {
        split: datasets.build_split("folder", tmp_path, split).rules_from for split in ("train", "val", "trainval")
    }
    assert rules.pop("train") is None and all(make().split == "train" for make in rules.values())


def test_a_folder_of_test_images_only_says_so(tmp_path):
    trees.make_folder(tmp_path, ["a", "b"], part="test")
    with pytest.raises(DataError, match="all 2 images are in test, so none is left to train on"):
        folder.build_split(tmp_path, "train")


def test_a_missing_split_folder_is_named(tmp_path):
    trees.make_folder(tmp_path, ["a"], part="train")
    with pytest.raises(DataError, match="images/val.*--data_root"):
        folder.build_split(tmp_path, "val")


def test_test_may_come_without_masks_and_is_not_in_the_pool(tmp_path):
    trees.make_folder(tmp_path, POOL[:10])
    trees.save(tmp_path / "images" / "test" / "t.png", trees.rgb(1))
    test = folder.build_split(tmp_path, "test")
    assert test.names == ["t"] and not test.has_labels
    assert len(folder.build_split(tmp_path, "trainval")) == 10
    trees.save(tmp_path / "masks" / "test" / "t.png", trees.gray(3))
    assert folder.build_split(tmp_path, "test").has_labels


def test_classes_keep_order_ids_colours_and_ignored_ids(tmp_path):
    trees.make_folder(tmp_path, ["a", "b"])
    table = folder.build_split(tmp_path, "trainval").classes
    assert table.names == ("road", "car") and table.label_ids == (0, 3)
    assert table.id_to_train == {0: 0, 3: 1, 255: 255}
    assert table.palette[0] == (1, 2, 3)
