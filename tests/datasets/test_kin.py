"""ACDC, Mapillary Vistas 2.0 and the merged data set, on made files of their layouts."""

import json

import numpy as np
import pytest

import datasets
from tests.datasets import trees
from utils.errors import DataError


def test_acdc_names_hold_the_condition_and_a_split_may_be_one(tmp_path):
    trees.make_acdc(tmp_path)
    split = datasets.build_split("acdc", tmp_path, "val")
    assert split.names[:3] == ["fog/GOPR0v/GOPR0v_frame_000000", "fog/GOPR0v/GOPR0v_frame_000001",
                               "night/GOPR0v/GOPR0v_frame_000000"]  # fmt: skip
    assert len(split) == 8 and (split.load_label(7) == 10).all()
    night = datasets.build_split("acdc", tmp_path, "trainval_night")
    assert len(night) == 4 and all(name.startswith("night/") for name in night.names)
    assert not datasets.build_split("acdc", tmp_path, "test_rain").has_labels
    counts = datasets.published_counts("acdc")
    assert all(sum(counts[f"{part}_{c}"] for c in ("fog", "night", "rain", "snow")) == counts[part]
               for part in ("train", "val", "test"))  # fmt: skip


def test_mapillary_v2_reads_its_own_labels_and_classes(tmp_path):
    trees.make_mapillary(tmp_path, "2.0")
    rows = [{"readable": f"class {i}", "evaluate": i != 123, "color": [i, 0, 0]} for i in range(124)]
    (tmp_path / "config_v2.0.json").write_text(json.dumps({"labels": rows}))
    for image in (tmp_path / "training" / "images").iterdir():
        trees.save(tmp_path / "training" / "v2.0" / "labels" / f"{image.stem}.png", trees.gray(122))
    split = datasets.build_split("mapillary_v2", tmp_path, "train")
    assert split.classes.num_classes == 123 and split.classes.id_to_train[123] == 255
    assert (split.load_label(0) == 122).all()
    assert datasets.build_split("mapillary", tmp_path, "train").classes.names == ("Bird", "Car")


def test_the_merged_set_has_cityscapes_classes_for_the_labels_of_all_four(tmp_path):
    trees.make_merged(tmp_path)
    idd = tmp_path / "idd" / "gtFine" / "train" / "0" / "frame0001_gtFine_labellevel3Ids.png"
    trees.save(idd, np.arange(24, dtype=np.uint8).reshape(4, 6))
    split = datasets.build_split("merged_dataset", tmp_path, "train")
    assert {name.partition("/")[0] for name in split.names} == {"bdd100k", "cityscapes", "idd", "mapillary"}
    found = {name: split.load_label(i) for i, name in enumerate(split.names)}
    expected = [0, 255, 1, 255, 11, 12, 17, 18, 255, 13, 14, 15, 255, 255, 3, 4, 255, 255, 7, 6, 5, 255, 2, 255]
    assert found["idd/0/frame0001"].ravel().tolist() == expected
    assert (found["mapillary/training0"] == 0).all()  # a crosswalk is road
    assert (found["bdd100k/train-0"] == 13).all() and (found["cityscapes/aachen_000000_000019"] == 0).all()
    assert len(split) == 2 + 4 + 2 + 2


def test_a_mapillary_configuration_without_a_class_of_cityscapes_is_refused(tmp_path):
    trees.make_merged(tmp_path)
    path = tmp_path / "mapillary" / "config.json"
    path.write_text(path.read_text().replace('"On Rails"', '"On Tracks"'))
    with pytest.raises(DataError, match="mapillary: .*no class On Rails, which is train"):
        datasets.build_split("merged_dataset", tmp_path, "val")
