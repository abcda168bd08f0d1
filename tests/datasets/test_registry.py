"""The registry, and what every data set owes its users when something is missing."""

import pytest

import datasets
from tests.datasets import trees
from utils.errors import DataError, OptionError

ON_DISK = ("camvid", "cityscapes", "folder")


def test_the_registry_lists_the_data_sets_on_disk():
    assert set(ON_DISK) <= set(datasets.list_datasets())
    assert datasets.list_datasets() == sorted(datasets.list_datasets())


def test_an_unknown_data_set_names_flag_and_choices(tmp_path):
    with pytest.raises(OptionError, match=r"--dataset citycapes.*camvid, cityscapes, folder"):
        datasets.build_split("citycapes", tmp_path, "train")


@pytest.mark.parametrize("name", ON_DISK)
def test_an_unknown_split_names_the_allowed_ones(name, tmp_path):
    with pytest.raises(OptionError, match="'validation'.*train, val, trainval, test"):
        datasets.build_split(name, tmp_path, "validation")


@pytest.mark.parametrize("name", ON_DISK)
@pytest.mark.parametrize("exists", [True, False])
def test_a_missing_or_empty_root_names_path_layout_and_flag(name, exists, tmp_path):
    root = tmp_path / "data"
    if exists:
        root.mkdir()
    with pytest.raises(DataError) as caught:
        datasets.build_split(name, root, "train")
    message = str(caught.value)
    assert str(root) in message and "--data_root" in message and "expected" in message
    assert "\n" not in message


@pytest.mark.parametrize("name", ON_DISK)
def test_a_fold_that_does_not_exist_names_the_flag(name, tmp_path):
    with pytest.raises(OptionError, match="--cv 3"):
        datasets.build_split(name, tmp_path, "train", cv=3)


def test_build_split_takes_a_string_as_root(tmp_path):
    trees.make_camvid(tmp_path, count=1)
    assert len(datasets.build_split("camvid", str(tmp_path), "train")) == 1
