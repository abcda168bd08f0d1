"""Synthetic street scenes: the same everywhere, all classes, not to be told by colour alone; the tree on disk."""

import hashlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets import cityscapes
from datasets.cityscapes import CLASSES
from datasets.synthetic import split as synthetic
from datasets.synthetic.canvas import THINGS
from datasets.synthetic.scene import draw_scene, instance_to_label
from datasets.synthetic.split import SPLITS, SyntheticSplit, build_split, stream
from scripts import make_synthetic
from tests.processes import launch
from utils.constants import IGNORE_LABEL
from utils.errors import DataError, OptionError

ROOT = Path(__file__).resolve().parents[2]
SIZE = (128, 256)


@pytest.fixture(scope="module")
def train() -> list[tuple[np.ndarray, np.ndarray]]:
    split = SyntheticSplit("train", count=60, height=SIZE[0], width=SIZE[1])
    return [(split.load_image(i), split.load_label(i)) for i in range(60)]


@pytest.fixture(scope="module")
def val() -> list[tuple[np.ndarray, np.ndarray]]:
    split = SyntheticSplit("val", count=15, height=SIZE[0], width=SIZE[1])
    return [(split.load_image(i), split.load_label(i)) for i in range(15)]


def test_a_scene_has_the_promised_types():
    image, train_ids, instance_ids = draw_scene(3, 5, 96, 160)
    assert (image.shape, image.dtype) == ((96, 160, 3), np.uint8)
    assert (train_ids.shape, train_ids.dtype) == ((96, 160), np.uint8)
    assert (instance_ids.shape, instance_ids.dtype) == ((96, 160), np.uint16)


def test_a_scene_is_the_same_in_another_process():
    code = (
        "import hashlib; from datasets.synthetic.scene import draw_scene;"
        "print(hashlib.sha256(b''.join(a.tobytes() for a in draw_scene(7, 2, 64, 128))).hexdigest())"
    )
    env = os.environ | {"PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "1"}
    other = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, check=True, text=True)
    np.random.seed(1)  # global random state counts for nothing
    for _ in range(2):
        drawn = b"".join(array.tobytes() for array in draw_scene(7, 2, 64, 128))
        assert hashlib.sha256(drawn).hexdigest() == other.stdout.strip()


def test_no_two_scenes_are_the_same():
    keys = {(stream(split, seed), index) for split in SPLITS for seed in range(3) for index in range(3)}
    assert len(keys) == 27
    assert len({draw_scene(*key, 32, 64)[0].tobytes() for key in keys}) == 27


def test_a_scene_is_the_same_at_another_size():
    small, large = (draw_scene(0, 4, height, 2 * height)[1] for height in (128, 256))
    assert (small == large[::2, ::2]).mean() > 0.93


def test_odd_shapes_are_drawn():
    for height, width in ((16, 16), (200, 64), (33, 401)):
        assert draw_scene(1, 1, height, width)[0].shape == (height, width, 3)


def test_labels_are_train_ids_and_every_class_has_its_share(train):
    shares, present = np.zeros(19), np.zeros(19)
    for _, label in train:
        assert set(np.unique(label)) <= {*range(19), IGNORE_LABEL}
        counts = np.bincount(label[label < 19], minlength=19)
        shares += counts / label.size / len(train)
        present += (counts > 40) / len(train)
    lowest = dict(zip(CLASSES.names, shares.round(4), strict=True))
    assert shares.min() > 0.005, lowest
    assert present.min() > 0.3, dict(zip(CLASSES.names, present.round(2), strict=True))
    assert shares.max() < 0.4, lowest


def test_some_pixels_are_ignored(train):
    ignored = np.mean([np.mean(label == IGNORE_LABEL) for _, label in train])
    assert 0.001 < ignored < 0.05


def test_instance_ids_follow_the_rule_of_cityscapes():
    persons = 0
    for index in range(12):
        _, train_ids, instance_ids = draw_scene(0, index, *SIZE)
        label_ids = instance_to_label(instance_ids)
        assert np.array_equal(CLASSES.to_train_ids(label_ids, "scene"), train_ids)
        things = np.isin(label_ids, list(THINGS))
        assert np.array_equal(things, instance_ids >= 1000)
        assert set(np.unique(label_ids[train_ids == IGNORE_LABEL])) <= {0, 1}
        persons = max(persons, len(np.unique(instance_ids[label_ids == 24])))
    assert persons > 1


def quantized(image: np.ndarray) -> np.ndarray:
    """RGB in 16 levels a channel -> bin 0..4095, (H,W)."""
    red, green, blue = np.moveaxis(image.astype(np.int64) >> 4, -1, 0)
    return (red * 16 + green) * 16 + blue


def mean_iou(rule: np.ndarray, scenes: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Mean IoU over the 19 classes of a table bin -> train id."""
    matrix = np.zeros(19 * 19)
    for image, label in scenes:
        seen = label < 19
        matrix += np.bincount(label[seen] * 19 + rule[quantized(image)[seen]], minlength=19 * 19)
    matrix = matrix.reshape(19, 19)
    hits = matrix.diagonal()
    return float((hits / np.maximum(matrix.sum(0) + matrix.sum(1) - hits, 1)).mean())


def test_colour_alone_does_not_tell_the_classes(train, val):
    counts = np.zeros((4096, 19), np.int64)
    for image, label in train[:40]:
        seen = label < 19
        np.add.at(counts, (quantized(image)[seen], label[seen].astype(np.int64)), 1)
    commonest = counts.sum(0).argmax()
    rule = np.where(counts.any(1), counts.argmax(1), commonest)
    score, constant = mean_iou(rule, val), mean_iou(np.full(4096, commonest), val)
    assert 3 * constant < score <= 0.25
    assert mean_iou(rule, train[:40]) > score  # it did learn what there is to learn


def test_the_split(val):
    split = build_split(None, "val")
    assert (len(split), len(build_split(None, "train")), len(build_split(None, "test"))) == (40, 160, 40)
    assert split.names[3] == "synthetic_val_0003" and split.has_labels
    assert split.dataset == "synthetic" and split.classes is CLASSES
    assert split.load_image(0).shape == (256, 512, 3) and split.load_label(0).shape == (256, 512)


def test_what_is_loaded_may_be_changed():
    split = SyntheticSplit(count=1, height=32, width=64)
    split.load_label(0)[:] = 7
    split.load_image(0)[:] = 7
    image, label, _ = draw_scene(stream("train", 0), 0, 32, 64)
    assert np.array_equal(split.load_label(0), label) and np.array_equal(split.load_image(0), image)


def test_the_cache_is_bounded(monkeypatch):
    monkeypatch.setattr(synthetic, "CACHE_BYTES", 2 * 32 * 64 * 4)
    split = SyntheticSplit(count=4, height=32, width=64)
    for index in (0, 1, 2, 3, 3, -1):
        split.load_image(index)
    assert list(split._scenes) == [2, 3]
    with pytest.raises(IndexError):
        split.load_image(4)


def test_the_fingerprint_tells_seed_count_size_and_drawing(monkeypatch):
    base = dict(split="val", seed=0, count=3, height=32, width=64)
    changes = ({"seed": 1}, {"count": 2}, {"height": 34}, {"width": 66}, {"split": "test"})
    prints = [SyntheticSplit(**(base | change)).fingerprint() for change in ({}, *changes)]
    assert SyntheticSplit(**base).fingerprint() == prints[0]
    monkeypatch.setattr(synthetic, "DRAWING_VERSION", synthetic.DRAWING_VERSION + 1)
    assert len({*prints, SyntheticSplit(**base).fingerprint()}) == 7


def test_what_does_not_exist_is_refused():
    with pytest.raises(OptionError, match="'validation'.*train, val, test"):
        build_split(None, "validation")
    with pytest.raises(OptionError, match="--cv 1"):
        build_split(None, "val", cv=1)
    for wrong in ({"seed": -1}, {"count": 0}, {"height": 8}):
        with pytest.raises(DataError, match="synthetic"):
            SyntheticSplit("val", **wrong)


def make(out: Path, *more: str) -> int:
    sizes = ("--train", "3", "--val", "2", "--test", "2", "--height", "64", "--width", "128")
    return make_synthetic.main([str(out), *sizes, *more])


def test_make_synthetic_writes_a_cityscapes_tree(tmp_path, capsys):
    out = tmp_path / "cityscapes"
    assert make(out) == 0
    assert "[7/7]" in capsys.readouterr().out
    files = sorted(path for path in out.rglob("*") if path.is_file())
    assert len(files) == 21 and not [path for path in files if path.name.startswith(".")]
    assert len({path.parent for path in files if path.parts[-3] == "train"}) >= 4  # two cities, images and labels
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask()
    for split, count in (("train", 3), ("val", 2)):
        loaded = cityscapes.build_split(out, split)
        drawn = SyntheticSplit(split, count=count, height=64, width=128)
        assert len(loaded) == count
        for i, name in enumerate(loaded.names):
            index = int(name.split("_")[1])
            assert np.array_equal(loaded.load_image(i), drawn.load_image(index))
            assert np.array_equal(loaded.load_label(i), drawn.load_label(index))
    assert len(cityscapes.build_split(out, "test")) == 2


def test_make_synthetic_writes_instances_in_16_bits(tmp_path):
    assert make(tmp_path / "out", "--seed", "2") == 0
    for path in (tmp_path / "out").rglob("*_instanceIds.png"):
        instances = Image.open(path)
        labels = Image.open(path.with_name(path.name.replace("instanceIds", "labelIds")))
        assert instances.mode == "I;16" and labels.mode == "L"
        assert np.array_equal(instance_to_label(np.array(instances)), np.array(labels))


def test_make_synthetic_runs_as_a_script_and_with_workers(tmp_path):
    options = "--train 2 --val 0 --test 0 --height 32 --width 64 --workers 2".split()
    done = launch(["scripts/make_synthetic.py", tmp_path / "out", *options])
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").rglob("*.png"))) == 6


@pytest.mark.parametrize(
    ("more", "words"), [((), "not an empty folder"), (("--val", "-1"), "--val -1"), (("--sed", "1"), "--sed")]
)
def test_make_synthetic_refuses(more, words, tmp_path, capsys):
    (tmp_path / "old.txt").write_text("keep me")
    assert make(tmp_path, *more) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and words in error and error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["old.txt"]


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
