"""India Driving Dataset: sequences, both image formats, and labels that have to be made first."""

import pytest

from datasets import idd
from tests.datasets import trees
from utils.errors import DataError


def test_names_hold_the_sequence_because_those_of_frames_repeat(tmp_path):
    trees.make_idd(tmp_path)
    splits = {name: idd.build_split(tmp_path, name) for name in idd.SPLITS}
    assert splits["train"].names == ["0/frame0001", "1/frame0001"]
    assert splits["trainval"].names == [f"{i}/frame0001" for i in range(4)]
    assert [item.image.suffix for item in splits["val"].items] == [".png", ".jpg"]
    assert splits["val"].load_label(1).tolist() == trees.gray(8).tolist()
    assert not splits["test"].has_labels


def test_polygons_alone_say_how_to_make_the_labels(tmp_path):
    trees.make_idd(tmp_path)
    for path in (tmp_path / "gtFine" / "train").rglob("*.png"):
        path.unlink()
    with pytest.raises(DataError, match=f"gtFine/train.*createLabels.py --datadir {tmp_path} --id-type level3Id$"):
        idd.build_split(tmp_path, "train")
    assert len(idd.build_split(tmp_path, "val")) == 2


def test_a_missing_label_is_named(tmp_path):
    trees.make_idd(tmp_path)
    path = tmp_path / "gtFine" / "train" / "1" / "frame0001_gtFine_labellevel3Ids.png"
    path.unlink()
    with pytest.raises(DataError, match=f"{path}: label of .*frame0001_leftImg8bit.jpg is missing"):
        idd.build_split(tmp_path, "trainval")


def test_an_id_of_another_level_is_named(tmp_path):
    trees.make_idd(tmp_path)
    split = idd.build_split(tmp_path, "train")
    trees.save(split.items[0].label, trees.gray(34))
    with pytest.raises(DataError, match=r"labellevel3Ids.png: label id 34 \(24 pixels\)"):
        split.load_label(0)
