"""KITTI: folds that never validate on what they train on."""

import pytest

from datasets import kitti
from tests.datasets import trees
from utils.errors import DataError


@pytest.mark.parametrize("count", [5, 13, 200])
def test_every_fold_is_disjoint_and_each_image_is_validated_once(count, tmp_path, monkeypatch):
    names = {f"{i:06d}_10": tmp_path / f"{i:06d}_10.png" for i in range(count)}
    for part in ("image_2", "semantic"):
        (tmp_path / "training" / part).mkdir(parents=True)
    monkeypatch.setattr("datasets.layout.list_files", lambda *args, **kwargs: names)
    validated = []
    for cv in range(kitti.NUM_FOLDS):
        train, val = (set(kitti.build_split(tmp_path, split, cv).names) for split in ("train", "val"))
        assert train and val and not train & val
        assert train | val == set(kitti.build_split(tmp_path, "trainval", cv).names) == set(names)
        assert abs(len(val) - count / kitti.NUM_FOLDS) < 1
        validated += sorted(val)
    assert sorted(validated) == sorted(names)


def test_labels_are_label_ids_and_test_has_none(tmp_path):
    trees.make_kitti(tmp_path)
    val, test = kitti.build_split(tmp_path, "val", 4), kitti.build_split(tmp_path, "test")
    assert val.names == ["000008_10", "000009_10"] == kitti.build_split(tmp_path, "val", 4).names
    assert val.has_labels and val.load_label(0).tolist() == trees.gray(0).tolist()
    assert val.load_image(1).tolist() == trees.rgb(9).tolist()
    assert test.names == ["000000_10", "000001_10"] and not test.has_labels


def test_fewer_images_than_folds_are_refused(tmp_path):
    trees.make_kitti(tmp_path, count=4)
    with pytest.raises(DataError, match="image_2: 4 images for 5 folds"):
        kitti.build_split(tmp_path, "val")
    assert len(kitti.build_split(tmp_path, "trainval")) == 4


def test_a_missing_label_is_named(tmp_path):
    trees.make_kitti(tmp_path)
    (tmp_path / "training" / "semantic" / "000003_10.png").unlink()
    with pytest.raises(DataError, match="semantic/000003_10.png.*image_2/000003_10.png.*1 missing"):
        kitti.build_split(tmp_path, "train")
