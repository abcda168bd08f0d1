"""Folders of splits under other names: used and said, or refused; a split by a hash is always said."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cases import common

HASHED = "splits are by a hash of the names"


def test_folders_under_other_names_are_used_and_said_once(programs, tmp_path):
    data = common.make(tmp_path / "data", {"training": 6, "Validation": 3})
    said = "splits are images/training -> train, images/Validation -> val"
    code, text = programs.train(data, "--max_steps", "1")
    assert code == 0 and text.count(said) == 1 and HASHED not in text
    assert "6 images of train to train on, 3 of val to validate on" in text
    code, text = programs.doctor(data)
    assert code == 0 and text.count(said) == 1


def test_a_split_by_a_hash_is_said_once(programs, tmp_path):
    data = common.make(tmp_path / "data", {"day": 5, "night": 5})
    for program in (programs.train, programs.doctor):
        code, text = program(data, "--max_steps", "1")
        assert code == 0 and text.count(HASHED) == 1


@pytest.mark.parametrize(
    "splits", [{"train": 6, "val": 2, "Valid": 2}, pytest.param({"train": 6, "eval": 3}, marks=pytest.mark.slow)]
)
def test_folders_that_may_mean_several_splits_are_refused(splits, programs, tmp_path):
    data = common.make(tmp_path / "data", splits)
    code, text = programs.train(data)
    assert code == 3 and len(text.strip().splitlines()) == 1 and '"splits": {"train": "train"' in text
    assert not (tmp_path / "runs").exists()
    common.write_classes(data, splits={"train": "train", "val": list(splits)[-1]})  # what it says to do
    assert programs.train(data, "--max_steps", "1")[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("names", [("TRAIN", "valid"), ("Training", "VAL"), ("train", "validation")])
def test_other_names_in_any_case(names, programs, tmp_path):
    data = common.make(tmp_path / "data", dict(zip(names, (6, 3), strict=True)))
    code, text = programs.train(data)
    assert code == 0 and f"images/{names[0]} -> train, images/{names[1]} -> val" in text


@pytest.mark.slow
def test_images_and_masks_name_their_folders_each_its_way(programs, tmp_path):
    data = common.make(tmp_path / "data", {"training": 6, "validation": 3})
    (data / "masks" / "training").rename(data / "masks" / "Train")
    for program in (programs.train, programs.doctor):
        code, text = program(data)
        assert code == 0 and "images/training and masks/Train -> train, images/validation -> val" in text


@pytest.mark.slow
@pytest.mark.parametrize("name", ["{}_mask", "{}.jpg", "mask_{}"])
def test_masks_named_otherwise_train_with_the_setting_that_the_message_names(name, programs, tmp_path):
    def rename(mask: np.ndarray, path: Path) -> None:
        common.save(mask, path.with_stem(name.format(path.stem)))

    data, setting = common.make(tmp_path / "data", save_mask=rename), f'"mask_name": "{name.format("*")}"'
    for program in (programs.train, programs.doctor):
        code, text = program(data)
        assert code == 3 and setting in text and name.format("000") in text and "000.png" in text
    common.write_classes(data, **json.loads(f"{{{setting}}}"))
    assert programs.train(data)[0] == programs.doctor(data)[0] == 0


@pytest.mark.slow
def test_list_files_and_images_without_masks(programs, tmp_path):
    data = common.make(tmp_path / "data", {"": 9})
    (data / "train.txt").write_text("\n".join(f"{number:03d}.png" for number in range(6)))
    (data / "val.txt").write_text("006\n007\n008\n")
    (data / "masks" / "002.png").unlink()
    common.write_classes(data, splits={"train": "train.txt", "val": "val.txt"})
    code, text = programs.train(data)
    assert code == 3 and "002.png" in text and '"skip_unlabelled": true' in text
    common.write_classes(data, splits={"train": "train.txt", "val": "val.txt"}, skip_unlabelled=True)
    code, text = programs.train(data)
    assert code == 0 and "no mask" in text and "5 images of train to train on, 3 of val" in text and HASHED not in text


@pytest.mark.slow
def test_masks_of_colours_and_a_colour_that_is_almost_one(programs, tmp_path):
    def color(mask: np.ndarray, path: Path) -> None:
        common.save(np.array(common.COLORS, np.uint8)[mask], path)

    data = common.make(tmp_path / "data", save_mask=color)
    common.write_classes(data, masks="color")
    assert programs.train(data)[0] == programs.doctor(data)[0] == 0
    path = data / "masks" / "train" / "001.png"
    pixels = np.array(Image.open(path))
    pixels[3, 4] = np.array(common.COLORS[1]) + (0, 2, 1)
    common.save(pixels, path)
    for program in (programs.train, programs.doctor):
        code, text = program(data)
        assert (
            code == 3
            and "001.png: colour [70, 132, 181] (1 pixels)" in text
            and "'sky' is [70, 130, 180], 2 away" in text
        )


@pytest.mark.slow
def test_a_pool_of_one_image_trains_with_the_options_that_its_message_names(programs, tmp_path):
    data = common.make(tmp_path / "data", {"": 1})
    code, text = programs.train(data)
    assert code == 3 and "one image can't be divided" in text
    options = text[text.index("--train_split") :].split()
    assert programs.train(data, *options, "--norm_groups", "4")[0] == 0
