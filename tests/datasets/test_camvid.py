"""CamVid: pairing by stem, the faults of a tree, and the real data where they are at hand."""

import numpy as np
import pytest

from datasets import camvid
from tests.datasets import trees
from utils.errors import DataError, OptionError


def test_splits_and_ids(tmp_path):
    trees.make_camvid(tmp_path, count=12)
    split = camvid.build_split(tmp_path, "val")
    assert split.names == [f"seq1_{i:03d}" for i in range(12)]
    assert [int(split.load_label(i)[0, 0]) for i in range(12)] == [*range(11), 255]
    assert camvid.build_split(tmp_path, "test").has_labels
    assert len(camvid.build_split(tmp_path, "trainval")) == 24


def test_image_suffixes_are_free_and_mixed(tmp_path):
    trees.make_camvid(tmp_path)
    trees.save(tmp_path / "train" / "seq0_000.JPG", trees.rgb(5))
    (tmp_path / "train" / "seq0_000.png").unlink()
    (tmp_path / "train.txt").write_text("nothing of use\n")
    split = camvid.build_split(tmp_path, "train")
    assert len(split) == 3
    assert split.load_image(0)[0, 0].tolist() == [5, 5, 5]


@pytest.mark.parametrize(("folder", "words"), [("valannot", "is missing"), ("val", "without an image")])
def test_files_without_a_partner_are_named_and_counted(folder, words, tmp_path):
    trees.make_camvid(tmp_path)
    for i in (1, 2):
        (tmp_path / folder / f"seq1_{i:03d}.png").unlink()
    with pytest.raises(DataError, match=f"valannot/seq1_001.png.*{words}.*2 ") as caught:
        camvid.build_split(tmp_path, "val")
    assert "\n" not in str(caught.value)


def test_two_images_of_one_stem_are_refused(tmp_path):
    trees.make_camvid(tmp_path)
    trees.save(tmp_path / "train" / "seq0_000.jpg", trees.rgb(5))
    with pytest.raises(DataError, match="seq0_000.jpg.*seq0_000.png.*unique"):
        camvid.build_split(tmp_path, "train")


def test_one_stem_in_train_and_val_is_refused_for_trainval_only(tmp_path):
    trees.make_camvid(tmp_path)
    trees.save(tmp_path / "val" / "seq0_000.png", trees.rgb(0))
    trees.save(tmp_path / "valannot" / "seq0_000.png", trees.gray(0))
    assert len(camvid.build_split(tmp_path, "val")) == 4
    with pytest.raises(DataError, match="seq0_000.*unique"):
        camvid.build_split(tmp_path, "trainval")


def test_folds_divide_train_and_val_by_drives(tmp_path):
    trees.make_camvid(tmp_path)
    with pytest.raises(DataError, match=r"0 of 6 .* drive 0016E5 .*--cv 1.*--cv 0"):
        camvid.build_split(tmp_path, "val", 1)
    for folder in ("train", "trainannot"):
        (tmp_path / folder / "seq0_000.png").rename(tmp_path / folder / "0016E5_000.png")
    for folder in ("val", "valannot"):
        (tmp_path / folder / "seq1_001.png").rename(tmp_path / folder / "0016E5_001.png")
    names = {split: camvid.build_split(tmp_path, split, 1).names for split in camvid.SPLITS}
    assert sorted(names["val"]) == ["0016E5_000", "0016E5_001"] and len(names["train"]) == 4
    assert sorted(names["train"] + names["val"]) == sorted(names["trainval"])
    assert names["test"] == camvid.build_split(tmp_path, "test").names
    with pytest.raises(OptionError, match="--cv 3.*0 to 2"):
        camvid.build_split(tmp_path, "train", 3)


@trees.needs_camvid
def test_folds_of_the_real_data_validate_on_drives_that_are_not_trained_on():
    for cv, counts in ((1, (163, 305)), (2, (406, 62))):
        train, val = (camvid.build_split(trees.REAL_CAMVID, split, cv) for split in ("train", "val"))
        drives = [{name.partition("_")[0] for name in split.names} for split in (train, val)]
        assert (len(train), len(val)) == counts and not drives[0] & drives[1]


@trees.needs_camvid
def test_the_real_data_have_the_published_sizes_and_shares():
    counts = {name: len(camvid.build_split(trees.REAL_CAMVID, name)) for name in camvid.SPLITS}
    assert counts == {"train": 367, "val": 101, "trainval": 468, "test": 233}
    split = camvid.build_split(trees.REAL_CAMVID, "train")
    assert split.load_image(0).shape == (360, 480, 3)
    pixels = sum(np.bincount(split.load_label(i).ravel(), minlength=256) for i in range(len(split)))
    share = 100 * pixels / pixels.sum()
    assert share[:11] == pytest.approx([16.8, 23.3, 0.98, 31.7, 4.5, 9.7, 1.2, 1.1, 5.9, 0.64, 0.29], abs=0.06)
    assert share[255] == pytest.approx(3.9, abs=0.06)
