"""The sheet of training samples."""

import json

import numpy as np
import pytest
from PIL import Image

from config import parse_train
from datasets.dataset import TrainingDataset
from datasets.sampling.class_uniform import CropSample
from datasets.synthetic.split import SyntheticSplit
from scripts import show_samples
from tests.conftest import make_scenes
from transforms import AugmentOptions, RandomAugment, TrainTransform
from utils.errors import OptionError
from utils.sheet import Panel, draw_sheet


def test_a_sheet_of_the_default_data(tmp_path):
    path = tmp_path / "sheet.png"
    argv = ["--out", str(path), "--count", "2", "--crop_size", "64", "--class_uniform_pct", "0", "--arch", "fenet_tiny"]
    assert show_samples.main(argv) == 0
    sheet = np.asarray(Image.open(path))
    assert sheet.ndim == 3 and sheet.shape[1] > 4 * 64 and sheet.std() > 20


@pytest.mark.parametrize("place", ["cpu", "device"])
def test_a_sheet_of_own_data(tmp_path, place, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = make_scenes(tmp_path / "data", 8, ignore=True)
    argv = ["--dataset", "folder", "--data_root", str(data), "--out", str(tmp_path / "s.png")]
    argv += ["--class_uniform_pct", "1", "--crop_size", "40,56", "--arch", "fenet_tiny", "--columns", "9"]
    argv += ["--augment", place]
    assert show_samples.main(argv) == 0
    assert Image.open(tmp_path / "s.png").width > 8 * 2 * 56
    assert {path.name for path in tmp_path.iterdir()} == {"data", "s.png"}  # no centroids of a run that isn't
    assert show_samples.main([*argv, "--ckpt", "kept"]) == 0 and list((tmp_path / "kept").glob("centroids*"))


def test_an_options_file_names_the_data(tmp_path):
    (tmp_path / "o.json").write_text(json.dumps({"dataset": "folder", "crop_size": 64, "ckpt": "here"}))
    for flags in (["--options_from", str(tmp_path / "o.json")], [f"--options_from={tmp_path / 'o.json'}"]):
        own, config = show_samples.parse(flags)
        assert (config.data.dataset, config.augment.crop_size, own.keep) == ("folder", 64, True)
    (tmp_path / "o.json").write_text(json.dumps({"crop_size": 64}))
    _, config = show_samples.parse(flags)
    assert (config.data.dataset, config.augment.crop_size) == ("synthetic", 64)


def test_mixed_crops_are_shown_as_train_py_mixes_them(tmp_path):
    data = make_scenes(tmp_path / "data", 8)
    argv = ["--dataset", "folder", "--data_root", str(data), "--ckpt", str(tmp_path), "--crop_size", "64"]
    argv += ["--class_uniform_pct", "0", "--bs_mult", "3", "--no-mirror", "--arch", "fenet_tiny"]
    shown = {}
    for name, more in {"plain": [], "mixed": ["--cutmix", "1"]}.items():
        shown[name] = show_samples.draw_samples(parse_train([*argv, *more]), 0, 4)[2]
    assert len(shown["mixed"]) == len(shown["plain"]) == 4
    batches = [[0, 1, 2], [3]]  # the second one is cut for the sheet, and mixed with crops that aren't on it
    for crops in batches:
        for place, index in enumerate(crops):
            mixed, own = shown["mixed"][index], shown["plain"][index]
            pasted = mixed != own
            source = shown["plain"][crops[place - 1]]
            assert index == 3 or (mixed[pasted] == source[pasted]).all()
    assert sum((mixed != own).any() for mixed, own in zip(*shown.values(), strict=True)) >= 3


def test_a_global_batch_is_accumulated_as_train_py_does(tmp_path):
    data = make_scenes(tmp_path / "data", 12)
    argv = ["--dataset", "folder", "--data_root", str(data), "--ckpt", str(tmp_path), "--crop_size", "64"]
    argv += ["--class_uniform_pct", "0", "--bs_mult", "2", "--cutmix", "1", "--arch", "fenet_tiny"]
    asked, written = (
        show_samples.draw_samples(parse_train([*argv, *more]), 1, 2)[2]
        for more in (["--global_batch", "6"], ["--accumulate", "3"])
    )
    assert all(np.array_equal(one, other) for one, other in zip(asked, written, strict=True))
    with pytest.raises(OptionError, match="--accumulate 7: an epoch has 6 batches; lower it"):
        show_samples.draw_samples(parse_train([*argv, "--accumulate", "7"]), 0, 2)


@pytest.mark.parametrize("argv", [["--count", "0"], ["--columns", "0"], ["--epoch", "-1"], ["--dataset", "pascal"]])
def test_wrong_options(argv, tmp_path):
    assert show_samples.main([*argv, "--out", str(tmp_path / "s.png")]) == 2
    assert not (tmp_path / "s.png").exists()


@pytest.mark.parametrize("place", [(20, 30), (0, 0), (127, 63), (70, 10)])
def test_the_cross_is_where_the_centroid_has_gone(place):
    split = SyntheticSplit(count=1, height=64, width=128)
    image = np.zeros((64, 128, 3), np.uint8)
    left, top = place
    image[max(0, top - 2) : top + 3, max(0, left - 2) : left + 3] = 255
    split.load_image = lambda index: image
    transform = TrainTransform(RandomAugment(AugmentOptions(crop_size=48, color_aug=0, gblur=False)))
    dataset = TrainingDataset(split, transform, seed=1)
    for index in range(6):
        draw = CropSample(0, place, 3, epoch=0, index=index)
        x, y = show_samples.find_centroid(dataset, draw, None)
        seen = dataset[draw]["image"][0].numpy()
        rows, columns = np.nonzero(seen > 0)
        assert abs(x - columns.mean()) < 4 and abs(y - rows.mean()) < 4
    assert show_samples.find_centroid(dataset, CropSample(0, None, None, 0, 0), None) is None


def test_captions_and_legend_fit():
    panels = [Panel(np.zeros((20, 30, 3), np.uint8), "a very long caption " * 9)] * 5
    sheet = draw_sheet(
        "title", panels, 2, [("a class with a name wider than the sheet", (255, 0, 0)), ("b", (0, 0, 9))]
    )
    assert sheet.shape[1] == 2 * (30 + 8) + 8
    assert (sheet == (255, 0, 0)).all(-1).any() and (sheet == (0, 0, 9)).all(-1).any()
    assert draw_sheet("", panels[:1], 4, []).shape[1] == 30 + 16
