"""Damaged and unusual files: what is read, and what is refused by name."""

import numpy as np
import pytest
from PIL import Image

from datasets.base import ClassTable
from datasets.reading import read_image, read_label
from tests.datasets import trees
from utils.errors import DataError


def test_images_of_every_mode_become_rgb(tmp_path):
    for mode in ("1", "L", "P", "LA", "RGBA", "CMYK"):
        path = tmp_path / f"{mode}.{'tif' if mode == 'CMYK' else 'png'}"
        Image.new("RGB", (6, 4), (255, 255, 255)).convert(mode).save(path)
        image = read_image(path)
        assert image.shape == (4, 6, 3) and image.dtype == np.uint8 and image.min() == 255, mode


def test_sixteen_bit_images_are_scaled_and_sixteen_bit_labels_refused(tmp_path):
    path = trees.save(tmp_path / "deep.png", np.full((4, 6), 257 * 100, np.uint16))
    assert read_image(path).tolist() == trees.rgb(100).tolist()
    with pytest.raises(DataError, match="deep.png.*8-bit.*I;16"):
        read_label(path)


def test_the_camera_s_rotation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(trees.rgb(0)).save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").shape == (6, 4, 3)


def test_colour_labels_are_refused_and_palette_labels_give_indices(tmp_path):
    with pytest.raises(DataError, match="color.png.*RGB.*save ids"):
        read_label(trees.save(tmp_path / "color.png", trees.rgb(1)))
    picture = Image.fromarray(trees.gray(5)).convert("P")
    picture.putpalette([9, 9, 9] * 256)
    picture.putdata([5] * 24)
    picture.save(tmp_path / "palette.png")
    assert read_label(tmp_path / "palette.png").tolist() == trees.gray(5).tolist()


@pytest.mark.parametrize("reader", [read_image, read_label])
@pytest.mark.parametrize("content", ["missing", "empty", "text", "truncated"])
def test_damaged_files_are_named_in_one_line(reader, content, tmp_path):
    path = tmp_path / "x.png"
    if content == "truncated":
        noise = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
        trees.save(path, noise)
        path.write_bytes(path.read_bytes()[:-2000])
    elif content != "missing":
        path.write_bytes(b"" if content == "empty" else b"<html>login</html>")
    with pytest.raises(DataError, match=str(path)) as caught:
        reader(path)
    assert "\n" not in str(caught.value)


def test_a_class_table_maps_ids_there_and_back():
    table = ClassTable(("a", "b"), ((1, 2, 3), (4, 5, 6)), (9, 4), {9: 0, 4: 1, 0: 255})
    ids = np.array([[9, 4, 0]], np.uint8)
    train = table.to_train_ids(ids, "x")
    assert train.tolist() == [[0, 1, 255]] and train.dtype == np.uint8
    assert table.to_label_ids(train[:, :2]).tolist() == [[9, 4]]
    assert table.colorize(train).tolist() == [[[1, 2, 3], [4, 5, 6], [0, 0, 0]]]
    with pytest.raises(DataError, match=r"x.png: label id 3 \(2 pixels\).*\(0, 4, 9\)"):
        table.to_train_ids(np.array([[3, 3, 4]], np.uint8), "x.png")
