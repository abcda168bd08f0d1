"""Cityscapes: classes, both layouts, folds, and the faults of a tree."""

import numpy as np
import pytest

from datasets import cityscapes
from tests.datasets import trees
from utils.errors import DataError

TRAIN = ["aachen", "bochum", "bremen", "cologne", "ulm"]
VAL = ["munster", "frankfurt"]
CITIES = {"train": TRAIN, "val": VAL, "test": ["berlin"]}


def cities_of(split):
    return {name.split("_")[0] for name in split.names}


def test_the_class_table_is_the_official_one():
    table = cityscapes.CLASSES
    assert table.num_classes == 19
    # cityscapesScripts' labels.py: the label ids with a train id, and all ids that files hold
    assert table.label_ids == (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
    assert set(table.id_to_train) == {*range(34), 255}
    assert sum(train_id == 255 for train_id in table.id_to_train.values()) == 35 - 19
    assert dict(zip(table.names, table.palette, strict=True))["bicycle"] == (119, 11, 32)
    ids = np.arange(34, dtype=np.uint8)[None]
    train = table.to_train_ids(ids, "x")
    assert np.array_equal(table.to_label_ids(train[train != 255]), ids[train != 255])


@pytest.mark.parametrize("nested", [False, True])
def test_both_layouts_give_the_same_samples(nested, tmp_path):
    trees.make_cityscapes(tmp_path, CITIES, nested=nested)
    split = cityscapes.build_split(tmp_path, "val")
    assert split.names == [f"{city}_{i:06d}_000019" for city in sorted(VAL) for i in range(2)]
    assert split.load_image(1).tolist() == trees.rgb(1).tolist()
    assert np.array_equal(split.load_label(0), trees.gray(0))


def test_test_has_no_labels_and_trainval_has_everything_labelled(tmp_path):
    trees.make_cityscapes(tmp_path, CITIES)
    test, trainval = (cityscapes.build_split(tmp_path, name) for name in ("test", "trainval"))
    assert not test.has_labels and cities_of(test) == {"berlin"}
    with pytest.raises(DataError, match="has no labels"):
        test.load_label(0)
    assert trainval.has_labels and cities_of(trainval) == {*TRAIN, *VAL}


def test_folds_rotate_over_sorted_val_then_sorted_train_cities(tmp_path):
    trees.make_cityscapes(tmp_path, CITIES)
    expected = [{"frankfurt", "munster"}, {"aachen", "bochum"}, {"bremen", "cologne"}]
    trainval = cityscapes.build_split(tmp_path, "trainval")
    for cv, cities in enumerate(expected):
        val = cityscapes.build_split(tmp_path, "val", cv)
        train = cityscapes.build_split(tmp_path, "train", cv)
        assert cities_of(val) == cities and np.array_equal(val.load_label(0), trees.gray(0))
        assert cities_of(train) == {*TRAIN, *VAL} - cities
        assert len(val) + len(train) == 14
        assert cityscapes.build_split(tmp_path, "trainval", cv).names == trainval.names


def test_folds_begin_a_third_of_the_cities_further(tmp_path):
    trees.make_cityscapes(tmp_path, {"train": list("cdefghi"), "val": ["a", "b"], "test": ["t"]})
    folds = [cities_of(cityscapes.build_split(tmp_path, "val", cv)) for cv in range(3)]
    assert folds == [{"a", "b"}, {"d", "e"}, {"g", "h"}]


def test_a_missing_label_folder_is_named(tmp_path):
    trees.make_cityscapes(tmp_path, CITIES)
    (tmp_path / "gtFine").rename(tmp_path / "gtCoarse")
    with pytest.raises(DataError, match=f"{tmp_path / 'gtFine'}.*--data_root"):
        cityscapes.build_split(tmp_path, "train")


def test_the_same_name_in_two_cities_is_refused(tmp_path):
    trees.make_cityscapes(tmp_path, CITIES)
    for room, tail in (("leftImg8bit", "_leftImg8bit"), ("gtFine", "_gtFine_labelIds")):
        trees.save(tmp_path / room / "train" / "ulm" / f"bremen_000000_000019{tail}.png", trees.gray(7))
    with pytest.raises(DataError, match="bremen_000000_000019.*unique"):
        cityscapes.build_split(tmp_path, "train")


def test_hidden_and_foreign_files_are_left_out(tmp_path):
    trees.make_cityscapes(tmp_path, CITIES)
    trees.save(tmp_path / "leftImg8bit" / "val" / "munster" / "._munster_000000_000019_leftImg8bit.png", trees.rgb(0))
    trees.save(tmp_path / "leftImg8bit" / "val" / "munster" / "preview.png", trees.rgb(0))
    (tmp_path / "leftImg8bit" / "val" / ".cache").mkdir()
    assert len(cityscapes.build_split(tmp_path, "val")) == 4
    assert len(cityscapes.build_split(tmp_path, "val", 1)) == 4
