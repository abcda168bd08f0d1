"""BDD100K: both layouts, and label files that hold train ids."""

import numpy as np
import pytest

from datasets import bdd100k, cityscapes
from tests.datasets import trees
from utils.errors import DataError


@pytest.mark.parametrize("year", [2018, 2020])
@pytest.mark.parametrize("above", [False, True])
def test_both_layouts_give_the_same_samples_from_the_folder_and_the_one_above(year, above, tmp_path):
    trees.make_bdd100k(tmp_path / "bdd100k", year)
    splits = {name: bdd100k.build_split(tmp_path if above else tmp_path / "bdd100k", name) for name in bdd100k.SPLITS}
    assert splits["train"].names == ["train-0", "train-1"] and splits["test"].names == ["test-0", "test-1"]
    assert splits["trainval"].names == splits["train"].names + splits["val"].names
    assert splits["val"].load_label(0).tolist() == trees.gray(13).tolist()
    assert splits["val"].has_labels and not splits["test"].has_labels


def test_files_hold_the_train_ids_of_cityscapes():
    table = bdd100k.CLASSES
    assert (table.names, table.palette) == (cityscapes.CLASSES.names, cityscapes.CLASSES.palette)
    ids = np.array([[*range(19), 255]], np.uint8)
    assert np.array_equal(table.to_train_ids(ids, "x"), ids)
    assert np.array_equal(table.to_label_ids(ids[:, :19]), ids[:, :19])


def test_label_ids_of_cityscapes_are_refused(tmp_path):
    trees.make_bdd100k(tmp_path)
    split = bdd100k.build_split(tmp_path, "train")
    trees.save(split.items[0].label, trees.gray(26))
    with pytest.raises(DataError, match=r"train-0.png: label id 26 \(24 pixels\)"):
        split.load_label(0)


@pytest.mark.parametrize(("year", "name"), [(2018, "val-1_train_id.png"), (2020, "val-1.png")])
def test_a_missing_label_is_named_as_its_layout_has_it(year, name, tmp_path):
    trees.make_bdd100k(tmp_path, year)
    (path,) = tmp_path.rglob(name)
    path.unlink()
    with pytest.raises(DataError, match=f"{path}: label of .*val-1.jpg is missing"):
        bdd100k.build_split(tmp_path, "val")
