"""Turned photos, deep and float images, ids in any form: they train like the same pixels in the plain form."""

import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from datasets import build_split
from datasets.checks.pixels import check_pixels, read_sizes
from datasets.decoding import turn_back
from datasets.index import build_index
from datasets.part import limit_images
from tests.cases.common import Programs, make, rows, save, write_classes

SMALL = ("--crop_size", "64", "--class_uniform_tile", "64", "--max_steps", "2", "--no-gblur")


def digest(programs: Programs, data: Path) -> str:
    """Of the weights after two steps, without validation."""
    code, text = programs.train(data, *SMALL)
    assert code == 0, text
    return re.search("final weights sha256: ([0-9a-f]{64})", text)[1]


def turned(orientation: int) -> Callable[[np.ndarray, Path], None]:
    """Saves pixels as a camera stores them."""

    def save_turned(pixels: np.ndarray, path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(turn_back(pixels, orientation)).save(path, exif=exif)

    return save_turned


def gray(pixels: np.ndarray) -> np.ndarray:
    return pixels.mean(axis=2).astype(np.uint8)


def deep(pixels: np.ndarray, largest: int) -> np.ndarray:
    """8 bits -> 0 to `largest`, of which scaling makes the same 8 bits."""
    return ((pixels.astype(np.int64) * largest + 254) // 255).astype(np.uint16)


@pytest.mark.parametrize(
    ("orientation", "size"),
    [
        (6, (96, 128)),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in ((3, (96, 128)), (8, (96, 128)), (6, (96, 96)))),
    ],
)
def test_photos_with_an_exif_orientation_train_as_upright_ones(orientation, size, tmp_path, programs):
    plain = make(tmp_path / "plain", size=size)
    photos = make(tmp_path / "photos", size=size, save_image=turned(orientation))
    assert digest(programs, photos) == digest(programs, plain)
    split = build_split("folder", photos, "train")
    found = []
    for part in (split, limit_images(split, 3)):
        index = build_index(part)
        assert {tuple(row) for row in read_sizes(part, index).tolist()} == {size}
        found.append([finding.severity for finding in check_pixels(part, index)])
    assert found[0] == found[1] != []


@pytest.mark.slow
@pytest.mark.parametrize("orientation", [3, 6])
def test_labels_that_are_drawn_on_stored_pixels_train_as_without_exif(orientation, tmp_path, programs):
    def without_exif(pixels: np.ndarray, path: Path) -> None:
        save(turn_back(pixels, orientation), path)

    plain = make(tmp_path / "plain", save_image=without_exif, save_mask=without_exif)
    photos = make(tmp_path / "photos", save_image=turned(orientation), save_mask=without_exif)
    assert digest(programs, photos) == digest(programs, plain)


@pytest.mark.slow
def test_photos_of_several_orientations_are_validated_and_cached(tmp_path, programs):
    def mixed(pixels: np.ndarray, path: Path) -> None:
        turned((1, 3, 6, 8)[int(path.stem) % 4])(pixels, path)

    data = make(tmp_path / "photos", save_image=mixed)
    runs = [programs.train(data, "--cache", cache) for cache in ("off", "disk")]
    assert [code for code, _ in runs] == [0, 0]
    assert len({re.search("final weights sha256: .*", text)[0] for _, text in runs}) == 1


@pytest.mark.parametrize(
    ("height", "width", "tile"),
    [
        (97, 97, 96),
        *(pytest.param(*sizes, marks=pytest.mark.slow) for sizes in ((65, 129, 64), (33, 96, 32), (100, 34, 33))),
    ],
)
def test_sides_of_one_more_than_a_multiple_of_the_tile(height, width, tile, tmp_path, programs):
    data = make(tmp_path / "data", {"train": 2, "val": 1}, (height, width))
    assert programs.train(data, "--class_uniform_tile", str(tile))[0] == 0


@pytest.mark.slow
def test_images_of_a_few_pixels_are_trained_on(tmp_path, programs):
    data = make(tmp_path / "data")
    for kind in ("images", "masks"):
        for number, size in enumerate([(1, 1), (1, 40), (40, 1), (7, 5), (33, 31), (2, 2)]):
            path = data / kind / "train" / f"{number:03d}.png"
            with Image.open(path) as picture:
                picture.resize(size, Image.Resampling.NEAREST).save(path)
    assert programs.train(data)[0] == 0


FORMS = {
    "float 0..1": (".tif", lambda a: (gray(a) / 255).astype(np.float32)),
    "float 0..255": (".tif", lambda a: gray(a).astype(np.float32)),
    "12 bits": (".png", lambda a: deep(gray(a), 4095)),
    "14 bits": (".tif", lambda a: deep(gray(a), 16383)),
}


@pytest.mark.parametrize("form", ["float 0..1", *(pytest.param(f, marks=pytest.mark.slow) for f in list(FORMS)[1:])])
def test_deep_grey_images_train_as_those_of_8_bits(form, tmp_path, programs):
    suffix, change = FORMS[form]
    plain = make(tmp_path / "plain", save_image=lambda a, path: save(gray(a), path))
    data = make(tmp_path / "deep", suffix=suffix, save_image=lambda a, path: save(change(a), path))
    assert digest(programs, data) == digest(programs, plain)


@pytest.mark.slow
@pytest.mark.parametrize(("largest", "suffix"), [(4095, ".png"), (65535, ".tif")])
def test_deep_colours_train_as_those_of_8_bits(largest, suffix, tmp_path, programs):
    def save_deep(pixels: np.ndarray, path: Path) -> None:
        cv2.imwrite(str(path), deep(pixels, largest)[..., ::-1])

    data = make(tmp_path / "deep", suffix=suffix, save_image=save_deep)
    assert digest(programs, data) == digest(programs, make(tmp_path / "plain"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (np.full((96, 128), np.nan, np.float32), "its float values reach from nan to nan"),
        (np.full((96, 128), -20, np.float32), "from -20 to -20, and images hold 0 to 1 or 0 to 255"),
        (np.full((96, 128), 70000, np.int32), "from 70000 to 70000, and images hold 0 to 65535"),
    ],
)
def test_values_that_are_no_picture_end_the_run_with_their_file(pixels, words, tmp_path, programs):
    data = make(tmp_path / "odd", suffix=".tif", save_image=lambda a, path: save(pixels, path))
    code, text = programs.train(data, *SMALL)
    assert code == 3 and words in text and ".tif" in text


MASKS = {
    "grey + alpha": lambda a: Image.merge("LA", [Image.fromarray(a), Image.new("L", a.shape[::-1], 255)]),
    "R=G=B": lambda a: Image.fromarray(a).convert("RGB"),
    "16 bits": lambda a: Image.fromarray(a.astype(np.uint16)),
}


@pytest.mark.slow
@pytest.mark.parametrize("form", MASKS)
def test_ids_in_another_form_train_as_8_bit_ones(form, tmp_path, programs):
    data = make(tmp_path / "data", save_mask=lambda a, path: MASKS[form](a).save(path))
    assert digest(programs, data) == digest(programs, make(tmp_path / "plain"))


@pytest.mark.slow
def test_masks_of_one_bit_hold_ids_0_and_1(tmp_path, programs):
    plain = make(tmp_path / "plain", save_mask=lambda a, path: save((a == 1).astype(np.uint8), path))
    data = make(tmp_path / "data", save_mask=lambda a, path: save(a == 1, path))
    for root in (plain, data):
        write_classes(root, rows("other", "sky"))
    assert digest(programs, data) == digest(programs, plain)
