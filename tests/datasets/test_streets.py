"""BDD100K, IDD, KITTI and Mapillary Vistas: layouts, folds, classes, and what each alone can get wrong."""

import json

import numpy as np
import pytest

from datasets import bdd100k, cityscapes, idd, kitti, mapillary
from tests.datasets import trees
from utils.errors import DataError


def build(module, root):
    return {name: module.build_split(root, name) for name in module.SPLITS}


@pytest.mark.parametrize("name", ["bdd100k", "bdd100k_2018"])
@pytest.mark.parametrize("above", [False, True])
def test_both_layouts_of_bdd100k_give_the_same_samples_from_the_folder_and_the_one_above(name, above, tmp_path):
    trees.make(name, tmp_path / "bdd100k")
    splits = build(bdd100k, tmp_path if above else tmp_path / "bdd100k")
    assert splits["train"].names == ["train-0", "train-1"] and splits["test"].names == ["test-0", "test-1"]
    assert splits["trainval"].names == splits["train"].names + splits["val"].names
    assert splits["val"].load_label(0).tolist() == trees.gray(13).tolist()
    assert splits["val"].has_labels and not splits["test"].has_labels


def test_files_of_bdd100k_hold_the_train_ids_of_cityscapes():
    table, ids = bdd100k.CLASSES, np.array([[*range(19), 255]], np.uint8)
    assert (table.names, table.palette) == (cityscapes.CLASSES.names, cityscapes.CLASSES.palette)
    assert np.array_equal(table.to_train_ids(ids, "x"), ids) and set(table.id_to_train) == {*range(19), 255}
    assert np.array_equal(table.to_label_ids(ids[:, :19]), ids[:, :19])


def test_names_of_idd_hold_the_sequence_because_those_of_frames_repeat(tmp_path):
    splits = build(idd, trees.make("idd", tmp_path))
    assert splits["train"].names == ["0/frame0001", "1/frame0001"]
    assert splits["trainval"].names == [f"{i}/frame0001" for i in range(4)]
    assert [item.image.suffix for item in splits["val"].items] == [".png", ".jpg"]
    assert splits["val"].load_label(1).tolist() == trees.gray(8).tolist()
    assert not splits["test"].has_labels


def test_polygons_alone_say_how_to_make_the_labels_of_idd(tmp_path):
    for path in (trees.make("idd", tmp_path) / "gtFine" / "train").rglob("*.png"):
        path.unlink()
    with pytest.raises(DataError, match=f"gtFine/train.*createLabels.py --datadir {tmp_path} --id-type level3Id$"):
        idd.build_split(tmp_path, "train")
    assert len(idd.build_split(tmp_path, "val")) == 2


@pytest.mark.parametrize("count", [5, 13, 200])
def test_folds_of_kitti_are_disjoint_and_each_image_is_validated_once(count, tmp_path, monkeypatch):
    names = {f"{i:06d}_10": tmp_path / f"{i:06d}_10.png" for i in range(count)}
    trees.make("kitti", tmp_path)
    monkeypatch.setattr("datasets.layout.list_files", lambda *args, **kwargs: names)
    validated = []
    for cv in range(kitti.NUM_FOLDS):
        train, val = (set(kitti.build_split(tmp_path, split, cv).names) for split in ("train", "val"))
        assert train and val and not train & val
        assert train | val == set(kitti.build_split(tmp_path, "trainval", cv).names) == set(names)
        assert abs(len(val) - count / kitti.NUM_FOLDS) < 1
        validated += sorted(val)
    assert sorted(validated) == sorted(names)


def test_labels_of_kitti_are_label_ids_and_test_has_none(tmp_path):
    trees.make("kitti", tmp_path)
    val, test = kitti.build_split(tmp_path, "val", 4), kitti.build_split(tmp_path, "test")
    assert val.names == ["000008_10", "000009_10"]
    assert val.has_labels and val.load_label(0).tolist() == trees.gray(0).tolist()
    assert val.load_image(1).tolist() == trees.rgb(9).tolist()
    assert test.names == ["000000_10", "000001_10"] and not test.has_labels


def test_fewer_images_than_folds_of_kitti_are_refused(tmp_path):
    trees.make_kitti(tmp_path, count=4)
    with pytest.raises(DataError, match="image_2: 4 images for 5 folds"):
        kitti.build_split(tmp_path, "val")
    assert len(kitti.build_split(tmp_path, "trainval")) == 4


@pytest.mark.parametrize("name", ["mapillary", "mapillary_2.0"])
def test_both_archives_of_mapillary_give_the_same_samples_and_classes(name, tmp_path):
    splits = build(mapillary, trees.make(name, tmp_path))
    assert splits["train"].names == ["training0", "training1"] and splits["val"].names == ["validation0", "validation1"]
    assert splits["trainval"].names == splits["train"].names + splits["val"].names
    assert splits["test"].names == ["testing0", "testing1"]
    assert [split.has_labels for split in splits.values()] == [True, True, True, False]
    table = splits["train"].classes
    assert table.names == ("Bird", "Car") and table.palette == ((165, 42, 42), (0, 0, 142))
    assert table.label_ids == (0, 2) and table.id_to_train == {0: 0, 1: 255, 2: 1}
    assert splits["trainval"].load_label(3).tolist() == trees.gray(1).tolist()


def test_of_66_labels_of_mapillary_the_last_is_not_scored(tmp_path):
    rows = [{"readable": f"c{i}", "evaluate": i < 65, "color": [i, i, i]} for i in range(66)]
    (tmp_path / "config.json").write_text(json.dumps({"labels": rows}))
    table = mapillary.load_classes(tmp_path / "config.json")
    assert table.num_classes == 65 and table.label_ids == tuple(range(65)) and table.id_to_train[65] == 255


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "no such file.*--data_root"),
        ("[]", "'labels'"),
        ('{"labels": []}', "'labels'"),
        ('{"labels": [3]}', r"labels\[0\].*3"),
        ('{"labels": [{"readable": "a", "color": [1, 2, 3]}]}', r"labels\[0\].evaluate"),
        ('{"labels": [{"evaluate": true, "color": [1, 2, 3]}]}', r"labels\[0\].readable"),
        ('{"labels": [{"evaluate": true, "readable": "a", "color": "red"}]}', r"labels\[0\].color"),
    ],
)
def test_a_missing_or_malformed_configuration_of_mapillary_names_itself_and_the_key(text, words, tmp_path):
    path = trees.make("mapillary", tmp_path) / "config.json"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(DataError, match=f"config.json.*{words}"):
        mapillary.build_split(tmp_path, "train")
