"""A user's own folder: names of folders, images and masks, list files, and the messages where they don't fit."""

import json
import unicodedata

import pytest

from datasets import folder
from datasets.own.names import suggest_patterns
from tests.datasets import trees
from utils.errors import DataError

ROWS = [{"name": "road", "id": 0}, {"name": "car", "id": 3}]


def classes(root, **more):
    (root / "classes.json").write_text(json.dumps({"classes": ROWS, **more}))


def rename(root, kind, pattern):
    for path in sorted((root / kind).rglob("*.png")):
        path.rename(path.with_name(pattern.format(path.stem)))


def test_folders_of_splits_may_have_other_names_in_images_and_masks(tmp_path):
    for part in ("TRAIN", "validation", "testing", "spare"):
        trees.make_folder(tmp_path, [f"{part}0", f"{part}1"], part)
    (tmp_path / "masks" / "TRAIN").rename(tmp_path / "masks" / "training")
    splits = {name: folder.build_split(tmp_path, name) for name in folder.SPLITS}
    assert {name: split.names[0] for name, split in splits.items()} == {
        **{"train": "TRAIN0", "val": "validation0", "trainval": "TRAIN0", "test": "testing0"}
    }
    assert len(splits["trainval"]) == 4
    assert (
        splits["train"].notes
        == splits["val"].notes
        == (
            "splits are images/TRAIN and masks/training -> train, images/validation -> val, images/testing -> test",
            "in no split, not used: images/spare",
        )
    )


def test_usual_splits_need_no_words_and_a_hash_does(tmp_path):
    trees.make_folder(tmp_path / "folders", ["a"], "train")
    trees.make_folder(tmp_path / "folders", ["b"], "val")
    assert folder.build_split(tmp_path / "folders", "train").notes == ()
    trees.make_folder(tmp_path / "pool", ["day/a", "day/b", "night/c", "night/d"])
    train, val, both = (folder.build_split(tmp_path / "pool", name) for name in ("train", "val", "trainval"))
    assert train.notes == val.notes and not both.notes
    (note,) = train.notes
    assert f"by a hash of the names: {len(train)} images" in note and f"train, {len(val)} -> val" in note


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        (("train", "val", "valid"), r"val and valid are both called like val.*\"splits\": \{\"train\": \"train\""),
        (("train", "Train", "val"), "Train and train are both called like train"),
        (("train", "eval"), 'is eval a split.*"train": "train", "val": "..."'),
        (("day", "dev"), "is dev a split"),
    ],
)
def test_folders_that_may_mean_several_splits_are_refused(parts, says, tmp_path):
    for part in parts:
        trees.make_folder(tmp_path, [f"{part}0", f"{part}1"], part)
    with pytest.raises(DataError, match=f"{tmp_path}/images: {says}.*"):
        folder.build_split(tmp_path, "train")
    classes(tmp_path, splits={"train": parts[0], "val": parts[-1]})
    assert folder.build_split(tmp_path, "val").names == [f"{parts[-1]}0", f"{parts[-1]}1"]


def test_splits_by_list_files(tmp_path):
    trees.make_folder(tmp_path, ["a", "b", "deep/c", "d"])
    classes(tmp_path, splits={"train": "train.txt", "val": "lists/val.txt"})
    (tmp_path / "lists").mkdir()
    (tmp_path / "train.txt").write_text("b.png\n\na\n")
    (tmp_path / "lists" / "val.txt").write_text("deep/c\n")
    found = {name: folder.build_split(tmp_path, name).names for name in ("train", "val", "trainval")}
    assert found == {"train": ["a", "b"], "val": ["deep/c"], "trainval": ["a", "b", "deep/c"]}
    with pytest.raises(DataError, match="names no test"):
        folder.build_split(tmp_path, "test")
    for text, says in (
        ("a\nbb", "line 2: no image 'bb' below .*/images"),
        ("a\na.png", "line 2.*line 1"),
        ("", "no name"),
    ):
        (tmp_path / "train.txt").write_text(text)
        with pytest.raises(DataError, match=f"{tmp_path}/train.txt: {says}"):
            folder.build_split(tmp_path, "train")
    (tmp_path / "train.txt").unlink()
    with pytest.raises(DataError, match="train.txt: cannot be read.*classes.json"):
        folder.build_split(tmp_path, "train")


def test_names_and_folders_as_classes_json_says(tmp_path):
    trees.make_folder(tmp_path, ["10", "deep/20", "30"])
    rename(tmp_path, "images", "img_{}.png")
    rename(tmp_path, "masks", "{}_gt.png")
    (tmp_path / "images").rename(tmp_path / "photos")
    (tmp_path / "masks").rename(tmp_path / "photos" / "truth")
    names = {"image_name": "img_*", "mask_name": "*_gt"}
    classes(tmp_path, image_folder="photos", mask_folder="photos/truth", **names)
    assert folder.build_split(tmp_path, "trainval").names == ["10", "30", "deep/20"]
    for path in sorted((tmp_path / "photos" / "truth").glob("*.png")):
        path.rename(tmp_path / "photos" / path.name)
    (tmp_path / "photos" / "truth" / "deep" / "20_gt.png").unlink()
    classes(
        tmp_path, image_folder="photos", mask_folder="photos", mask_name="*_gt", skip_unlabelled=True, image_name="*"
    )
    with pytest.raises(DataError, match='set "image_name": "img_\\*", "mask_name": "\\*_gt"'):
        folder.build_split(tmp_path, "trainval")
    classes(tmp_path, image_folder="photos", mask_folder="photos", skip_unlabelled=True, **names)
    split = folder.build_split(tmp_path, "trainval")
    assert split.names == ["10", "30"] and "no mask" in split.notes[0] and ": 1 " in split.notes[0]


@pytest.mark.parametrize("mask", ["{}_mask.png", "{}.jpg.png", "{}_label.png", "mask_{}.png"])
def test_where_nothing_pairs_the_setting_that_pairs_is_named(mask, tmp_path):
    trees.make_folder(tmp_path, ["1", "12", "deep/2"])
    rename(tmp_path, "masks", mask)
    pattern = mask.format("*").removesuffix(".png")
    with pytest.raises(DataError, match="no mask has an image's name") as caught:
        folder.build_split(tmp_path, "trainval")
    for part in (
        "images/1.png",
        f"masks/{mask.format('1')}",
        f'set "mask_name": "{pattern}" in {tmp_path}/classes.json',
    ):
        assert part in str(caught.value)
    classes(tmp_path, mask_name=pattern)
    assert len(folder.build_split(tmp_path, "trainval")) == 3


def test_no_setting_is_made_up():
    assert suggest_patterns(["a1", "a2"], ["b", "c"]) is None
    assert suggest_patterns(["1", "2", "3", "4"], ["1_mask", "9_mask"]) is None
    assert [str(pattern) for pattern in suggest_patterns(["x_rgb", "y_rgb"], ["y_label", "x_label"])] == [
        *("*_rgb", "*_label")
    ]


def test_one_mask_that_is_named_otherwise_is_named(tmp_path):
    trees.make_folder(tmp_path, ["7", "17", "8"])
    (tmp_path / "masks" / "7.png").rename(tmp_path / "masks" / "7_mask.png")
    with pytest.raises(DataError, match=r"masks/7.png: .*missing \(1 .*7_mask.png looks like it, rename it to 7.png"):
        folder.build_split(tmp_path, "trainval")
    (tmp_path / "masks" / "7_mask.png").unlink()
    with pytest.raises(DataError, match='masks/7.png: .*"skip_unlabelled": true in .*classes.json'):
        folder.build_split(tmp_path, "trainval")
    classes(tmp_path, skip_unlabelled=True)
    assert folder.build_split(tmp_path, "trainval").names == ["17", "8"]


def test_names_composed_and_decomposed_are_one(tmp_path):
    trees.make_folder(tmp_path, ["Straße ö", "é/ä"])
    for path in sorted((tmp_path / "masks").rglob("*"), reverse=True):
        path.rename(path.with_name(unicodedata.normalize("NFD", path.name)))
    split = folder.build_split(tmp_path, "trainval")
    assert split.names == ["Straße ö", "é/ä"] and (split.load_label(1) == 0).all()
