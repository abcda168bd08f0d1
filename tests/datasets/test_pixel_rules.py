"""One rule for a split: which way turned photos are read, and which value of deep pixels becomes 255."""

import pickle
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets import camvid
from datasets.base import ClassTable, FileItem, FileSplit
from datasets.cache import open_cache
from datasets.checks.pixels import check_pixels, read_sizes
from datasets.dataset import load_pair
from datasets.decoding import turn_back
from datasets.index import build_index
from tests.datasets import trees
from utils.errors import DataError

CLASSES = ClassTable(("a", "b"), ((1, 2, 3), (4, 5, 6)), (0, 1), {0: 0, 1: 1})


def scene(number: int, height: int = 40, width: int = 56) -> tuple[np.ndarray, np.ndarray]:
    """An image with a bright box, not in the middle, and its label."""
    rng, label = np.random.default_rng(number), np.zeros((height, width), np.uint8)
    label[2 : height // 3, 3 + number : width // 2] = 1
    image = 60 + 120 * label[..., None] + rng.integers(0, 30, (height, width, 3))
    return image.astype(np.uint8), label


def photos(root: Path, *orientations: int, upright: bool = True, size: tuple[int, int] = (40, 56), labels: bool = True):
    """A split of photos as a camera stores them; the labels are drawn upright, or else on the stored pixels."""
    items = []
    for number, orientation in enumerate(orientations):
        image, label = scene(number, *size)
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = trees.save(root / "masks" / f"{number}.png", label if upright else turn_back(label, orientation))
        name = root / f"{number}.jpg"
        Image.fromarray(turn_back(image, orientation)).save(name, exif=exif, quality=95)
        items.append(FileItem(str(number), name, path if labels else None))
    return FileSplit("d", "train", CLASSES, items)


def agrees(split: FileSplit, index: int) -> bool:
    """The image is bright where its label is 1."""
    image, label = load_pair(split, index)
    return image[label == 1].mean() > 170 and image[label == 0].mean() < 90


def findings(split: FileSplit) -> list[tuple[str, str]]:
    return [(finding.severity, finding.what) for finding in check_pixels(split, build_index(split))]


@pytest.mark.parametrize("upright", [True, False])
@pytest.mark.parametrize("size", [(40, 56), (48, 48)])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_read_as_their_labels_are_turned(orientation, size, upright, tmp_path):
    split = photos(tmp_path, *[orientation] * 4, upright=upright, size=size)
    assert all(agrees(split, index) for index in range(4))
    assert [split.image_size(index) for index in range(4)] == [split.load_label(index).shape for index in range(4)]
    assert [severity for severity, _ in findings(split)] == ["note"] * (orientation > 1)
    assert read_sizes(split, build_index(split)).tolist() == [list(split.image_size(index)) for index in range(4)]


def test_sizes_decide_for_the_others(tmp_path):
    split = photos(tmp_path, 6, 1, 3, 2)
    Image.fromarray(np.zeros((40, 56), np.uint8)).save(split.items[2].label)  # without borders
    assert split.rules.turn_rule.upright and split.load_image(2)[:20].mean() > split.load_image(2)[20:].mean()
    assert findings(split) == [
        ("note", "train: 1 photo with an EXIF orientation turned upright, as the sizes of the labels say"),
        (
            "note",
            "train: 2 photos with an EXIF orientation turned upright: the sizes of other images and labels say so",
        ),
    ]


def test_photos_are_left_alone_and_named_where_nothing_tells(tmp_path):
    split = photos(tmp_path, 3, 3)
    for item in split.items:
        Image.fromarray(np.zeros((40, 56), np.uint8)).save(item.label)
    assert split.load_image(0)[20:].mean() > split.load_image(0)[:20].mean()  # the stored pixels
    ((severity, what),) = findings(split)
    assert severity == "warning" and "2 photos with an EXIF orientation read as they are stored: the labels'" in what


def test_the_training_split_decides_for_the_others(tmp_path):
    train = photos(tmp_path / "train", *[3] * 4, upright=False)
    for labels in (True, False):
        other = photos(tmp_path / "other", 3, labels=labels)
        assert other.load_image(0)[:20].mean() > other.load_image(0)[20:].mean()  # upright by itself
        other = photos(tmp_path / "other", 3, labels=labels)
        other.rules_from = lambda: train
        assert other.load_image(0)[20:].mean() > other.load_image(0)[:20].mean()


def test_a_split_decides_alone_where_the_other_is_missing_and_travels_to_workers(tmp_path):
    split = pickle.loads(pickle.dumps(photos(tmp_path, 3, 3)))
    split.rules_from = partial(camvid.build_split, tmp_path / "missing", "train")
    assert agrees(split, 0) and agrees(pickle.loads(pickle.dumps(split)), 1)


def test_a_cache_holds_turned_photos(tmp_path):
    split = photos(tmp_path, 6, 1, 8, 3)
    cache = open_cache(split, "disk", tmp_path / "cache")
    for index in range(4):
        image, label = cache.load(index)
        assert np.array_equal(image, split.load_image(index)) and np.array_equal(label, split.load_label(index))


def deep(root: Path, *images: np.ndarray) -> FileSplit:
    items = []
    for number, image in enumerate(images):
        Image.fromarray(image).save(root / f"{number}.tif")
        items.append(FileItem(str(number), root / f"{number}.tif", trees.save(root / f"{number}.png", trees.gray(0))))
    return FileSplit("d", "train", CLASSES, items)


def test_dark_pictures_are_scaled_as_the_bright_ones_of_their_split(tmp_path):
    dark, bright = trees.gray(0).astype(np.uint16) + 200, trees.gray(0).astype(np.uint16) + 4000
    split = deep(tmp_path, dark, bright)
    assert split.load_image(0).max() == 200 * 255 // 4095 and split.load_image(1).max() == 4000 * 255 // 4095
    words = "scaled so that 4095 becomes 255: the smallest range (12 bits) that holds their values"
    assert findings(split) == [("note", f"train: 2 images of more than 8 bits, {words}")]


def test_float_pictures_have_one_range(tmp_path):
    split = deep(tmp_path, np.full((4, 6), 0.9, np.float32), np.full((4, 6), 240, np.float32))
    assert split.load_image(0).max() == 1 and split.load_image(1).max() == 240
    assert findings(split) == [("note", "train: 2 float images of 0 to 255, rounded")]
    split = deep(tmp_path, np.full((4, 6), 0.9, np.float32), np.full((4, 6), 0.2, np.float32))
    assert split.load_image(0).max() == 230 and split.load_image(1).max() == 51
    assert findings(split) == [("note", "train: 2 float images of 0 to 1, multiplied by 255")]
    Image.fromarray(np.full((4, 6), np.nan, np.float32)).save(split.items[1].image)
    with pytest.raises(DataError, match="1.tif: its float values reach from nan to nan"):
        split.load_image(1)


def test_ordinary_splits_look_at_no_header(tmp_path, monkeypatch):
    split = photos(tmp_path, 1, 1)
    monkeypatch.setattr("datasets.pixel_rules.read_header", lambda path: pytest.fail("looked at"))
    assert split.load_image(1).shape == (40, 56, 3)
