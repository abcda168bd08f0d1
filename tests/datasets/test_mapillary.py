"""Mapillary Vistas: classes from its configuration, in both archives."""

import json

import pytest

from datasets import mapillary
from tests.datasets import trees
from utils.errors import DataError


@pytest.mark.parametrize("archive", ["1.2", "2.0"])
def test_both_archives_give_the_same_samples_and_classes(archive, tmp_path):
    trees.make_mapillary(tmp_path, archive)
    splits = {name: mapillary.build_split(tmp_path, name) for name in mapillary.SPLITS}
    assert splits["train"].names == ["training0", "training1"] and splits["val"].names == ["validation0", "validation1"]
    assert splits["trainval"].names == splits["train"].names + splits["val"].names
    assert splits["test"].names == ["testing0", "testing1"]
    assert [split.has_labels for split in splits.values()] == [True, True, True, False]
    table = splits["train"].classes
    assert table.names == ("Bird", "Car") and table.palette == ((165, 42, 42), (0, 0, 142))
    assert table.label_ids == (0, 2) and table.id_to_train == {0: 0, 1: 255, 2: 1}
    assert splits["trainval"].load_label(3).tolist() == trees.gray(1).tolist()


def test_of_66_labels_the_last_is_not_scored(tmp_path):
    rows = [{"readable": f"c{i}", "evaluate": i < 65, "color": [i, i, i]} for i in range(66)]
    (tmp_path / "config.json").write_text(json.dumps({"labels": rows}))
    table = mapillary.load_classes(tmp_path / "config.json")
    assert table.num_classes == 65 and table.label_ids == tuple(range(65)) and table.id_to_train[65] == 255


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "'labels'"),
        ('{"labels": []}', "'labels'"),
        ('{"labels": [3]}', r"labels\[0\].*3"),
        ('{"labels": [{"readable": "a", "color": [1, 2, 3]}]}', r"labels\[0\].evaluate"),
        ('{"labels": [{"evaluate": true, "color": [1, 2, 3]}]}', r"labels\[0\].readable"),
        ('{"labels": [{"evaluate": true, "readable": "a", "color": "red"}]}', r"labels\[0\].color"),
    ],
)
def test_a_malformed_configuration_names_itself_and_the_key(text, words, tmp_path):
    trees.make_mapillary(tmp_path)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(DataError, match=f"config.json.*{words}"):
        mapillary.build_split(tmp_path, "train")


def test_a_missing_configuration_is_named(tmp_path):
    trees.make_mapillary(tmp_path)
    (tmp_path / "config.json").rename(tmp_path / "config_v2.0.json")
    with pytest.raises(DataError, match="config.json: no such file.*--data_root"):
        mapillary.build_split(tmp_path, "train")


def test_an_id_beyond_the_configuration_is_named(tmp_path):
    trees.make_mapillary(tmp_path)
    split = mapillary.build_split(tmp_path, "val")
    trees.save(split.items[0].label, trees.gray(3))
    with pytest.raises(DataError, match=r"validation0.png: label id 3 \(24 pixels\)"):
        split.load_label(0)
