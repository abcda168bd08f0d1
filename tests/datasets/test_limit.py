"""`--limit_images`: always the same images, of all splits of a run only those that are trained on."""

import json

import pytest

import datasets
import train
from datasets.part import limit_images
from tests.conftest import make_scenes, train_args
from utils.errors import OptionError


def test_a_smaller_number_chooses_some_of_a_larger_one():
    split = datasets.build_split("synthetic", "", "train")
    few, more = (limit_images(split, count) for count in (8, 20))
    assert few.names == sorted(few.names) and len(few) == 8 and set(few.names) < set(more.names)
    assert few.names == limit_images(split, 8).names != split.names[:8]
    assert limit_images(split, None) is split
    with pytest.raises(OptionError, match="--limit_images 161: synthetic train has 160"):
        limit_images(split, 161)


def test_a_run_trains_on_them_and_validates_on_all(tmp_path, capfd):
    data = make_scenes(tmp_path / "data", 8)
    argv = train_args(data, tmp_path, "--class_uniform_pct", "0", "--max_steps", "1")
    assert train.main([*argv, "--limit_images", "9"]) == 2
    assert "--limit_images 9: folder train has 8" in capfd.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["data"]  # nothing was scanned
    assert train.main([*argv, "--limit_images", "4", "--val_split", "train"]) == 0
    out = capfd.readouterr().out
    assert "4 images of train to train on, 8 of train to validate on" in out and "schedule: 2 epochs of 2 steps" in out
    assert json.loads((tmp_path / "run" / "config.json").read_text())["limit_images"] == 4
    assert train.main([*argv, "--limit_images", "5"]) == 3
    assert "limit_images was 4, is 5" in capfd.readouterr().err


def test_an_id_of_no_class_is_found_in_a_part_too(tmp_path, capfd):
    data = make_scenes(tmp_path / "data", 8, ignore=True)
    listed = json.loads((data / "classes.json").read_text())
    (data / "classes.json").write_text(json.dumps(listed | {"ignore": []}))
    argv = train_args(data, tmp_path, "--class_uniform_pct", "0", "--max_steps", "1")
    for more in ((), ("--limit_images", "4")):
        assert train.main([*argv, *more]) == 3
        assert "255" in capfd.readouterr().err and not (tmp_path / "run").exists()
