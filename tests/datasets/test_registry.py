"""The registry, and what every data set owes its users when something is missing."""

import numpy as np
import pytest

import datasets
from datasets.options import DataOptions
from tests.datasets import trees
from utils.errors import DataError, OptionError

NAMES = datasets.list_datasets()
ON_DISK = [name for name in NAMES if name != "synthetic"]
OF_THE_DATA = ("folder", "mapillary", "mapillary_v2")  # their classes come with the data


def test_an_unknown_data_set_names_flag_and_choices(tmp_path):
    for ask in (lambda: datasets.build_split("citycapes", tmp_path, "train"), lambda: DataOptions(dataset="citycapes")):
        with pytest.raises(OptionError, match=f"--dataset citycapes: unknown data set.*{', '.join(NAMES)}"):
            ask()


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_split_or_fold_names_what_there_is(name, tmp_path):
    with pytest.raises(OptionError, match="'validation'.*train, val"):
        datasets.build_split(name, tmp_path, "validation")
    for cv in (-1, 5):
        with pytest.raises(OptionError, match=f"--cv {cv}"):
            datasets.build_split(name, tmp_path, "train", cv=cv)


@pytest.mark.parametrize("name", ON_DISK)
@pytest.mark.parametrize("exists", [True, False])
def test_a_missing_or_empty_root_names_path_layout_and_flag(name, exists, tmp_path):
    root = tmp_path / "data"
    if exists:
        root.mkdir()
    with pytest.raises(DataError, match=f"^{root}[^\n]*expected[^\n]*--data_root[^\n]*$"):
        datasets.build_split(name, root, "train")


@pytest.mark.parametrize("tree", trees.MAKERS)
def test_a_missing_label_and_an_unknown_id_are_named(tree, tmp_path):
    name, root = tree if tree in NAMES else tree.partition("_")[0], trees.make(tree, tmp_path)
    split = datasets.build_split(name, root, "train")
    first, second = split.items[:2]
    label, wrong = trees.gray(7), {"bdd100k": 26, "idd": 34, "mapillary": 3, "mapillary_v2": 3}.get(name, 77)
    label[:] = split.classes.label_ids[0]
    label[0, :3] = wrong
    trees.save(first.label, label)
    with pytest.raises(DataError, match=rf"{first.label}: label id {wrong} \(3 pixels\)"):
        split.load_label(0)
    second.label.unlink()
    with pytest.raises(DataError, match=rf"{second.label}: label of {second.image} is missing \(1 missing"):
        datasets.build_split(name, root, "train")


def test_build_split_takes_a_string_as_root(tmp_path):
    trees.make_camvid(tmp_path, count=1)
    assert len(datasets.build_split("camvid", str(tmp_path), "train")) == 1


@pytest.mark.parametrize("name", [name for name in NAMES if name not in OF_THE_DATA])
def test_a_class_table_is_complete(name):
    table = datasets.class_table(name)
    ids = np.array([table.label_ids], np.uint8)
    assert len(set(table.names)) == len(set(table.palette)) == table.num_classes == ids.size
    assert table.to_train_ids(ids, "x")[0].tolist() == list(range(table.num_classes))


@pytest.mark.parametrize("name", ["acdc", "cityscapes", "kitti", "merged_dataset"])
def test_classes_are_those_of_cityscapesscripts(name):
    official = pytest.importorskip("cityscapesscripts.helpers.labels").labels
    table = datasets.class_table(name)
    scored = [label for label in official if not label.ignoreInEval]
    rows = list(zip(table.names, table.label_ids, table.palette, strict=True))
    assert rows == [(label.name, label.id, label.color) for label in scored]
    assert [label.trainId for label in scored] == list(range(table.num_classes))
    for label in official:
        expected = 255 if label.ignoreInEval else label.trainId
        assert table.id_to_train[label.id & 255] == expected  # the licence plate's -1 is 255 in a file


@pytest.mark.parametrize("name", OF_THE_DATA)
def test_classes_that_come_with_the_data_are_not_there_without(name):
    assert datasets.class_table(name) is None
