"""Damaged and unusual files: what is read, and what is refused by name."""

import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from datasets import reading
from datasets.base import ClassTable, FileItem, FileSplit
from datasets.reading import image_size, read_image, read_label
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


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_the_camera_s_rotation_is_applied_where_asked_for(suffix, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / f"turned.{suffix}"
    Image.fromarray(trees.rgb(0)).save(path, exif=exif)
    assert read_image(path).shape == (6, 4, 3)
    assert read_image(path, upright=False).shape == (4, 6, 3) and image_size(path) == (4, 6)


def test_damaged_exif_is_one_line(tmp_path):
    path = tmp_path / "a.webp"
    Image.fromarray(trees.rgb(0)).save(path, exif=b"Exif\0\0G\xbc\xc4\0\0\xfe\xde\x13")
    with pytest.raises(DataError, match="a.webp: not a readable image"):
        read_image(path)
    assert read_image(path, upright=False).shape == (4, 6, 3)


def test_training_reads_pixels_as_they_are_stored(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 8
    path = tmp_path / "images" / "a.jpg"
    path.parent.mkdir()
    Image.fromarray(trees.rgb(0)).save(path, exif=exif)
    split = FileSplit("d", "train", ClassTable(("a",), ((1, 2, 3),), (0,), {0: 0}), [FileItem("a", path, None)])
    assert split.load_image(0).shape == (4, 6, 3)


@pytest.mark.parametrize("fast", [True, False])
def test_decoders_agree(fast, tmp_path, monkeypatch):
    if fast:
        pytest.importorskip("pyspng")
    else:
        monkeypatch.setattr(reading, "pyspng", None)
    rng = np.random.default_rng(0)
    color, gray = rng.integers(0, 256, (33, 47, 3)).astype(np.uint8), rng.integers(0, 256, (33, 47)).astype(np.uint8)
    for name, options in (("plain", {}), ("key", {"transparency": 3}), ("gamma", {"gamma": 0.45})):
        options = options | ({"transparency": (1, 2, 3)} if name == "key" else {})
        Image.fromarray(color).save(tmp_path / f"{name}.png", **options)
        assert np.array_equal(read_image(tmp_path / f"{name}.png"), color)
        Image.fromarray(gray).save(tmp_path / f"{name}_label.png", **(options | {"transparency": 3}))
        assert np.array_equal(read_label(tmp_path / f"{name}_label.png"), gray)
    damaged = tmp_path / "damaged.png"
    data = bytearray((tmp_path / "plain.png").read_bytes())
    data[len(data) // 2] ^= 255
    damaged.write_bytes(data)
    with pytest.raises(DataError, match=str(damaged)):
        read_image(damaged)


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


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("left", [0.3, 0.9, 0.99])
def test_truncated_jpegs_are_refused(progressive, left, tmp_path):
    path = tmp_path / "x.jpg"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(noise).save(path, progressive=progressive)
    path.write_bytes(path.read_bytes()[: int(left * path.stat().st_size)])
    with pytest.raises(DataError, match=str(path)):
        read_image(path)


@pytest.mark.parametrize("cut", [8, 12, 20, 5000])
def test_pngs_without_their_end_are_refused(cut, tmp_path):
    path = tmp_path / "x.png"
    trees.save(path, np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8))
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(DataError, match=f"{path}.*truncated"):
        read_image(path)


def test_bombs_are_refused_by_their_header(tmp_path):
    ihdr = b"IHDR" + struct.pack(">IIBBBBB", 13000, 13000, 8, 2, 0, 0, 0)
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + ihdr + struct.pack(">I", zlib.crc32(ihdr))
    body = b"".join(zlib.compress(bytes(100), 9) for _ in range(3))
    path = tmp_path / "bomb.png"
    path.write_bytes(header + struct.pack(">I", len(body)) + b"IDAT" + body + struct.pack(">I", 0))
    for read in (read_image, read_label, image_size):
        with pytest.raises(DataError, match="bomb.png: 13000x13000 is more than"):
            read(path)


def test_links_in_loops_and_other_things_that_are_no_files_are_named(tmp_path):
    loop = tmp_path / "loop.png"
    loop.symlink_to(loop)
    os.mkfifo(tmp_path / "pipe.png")  # opening it would wait for ever
    (tmp_path / "folder.png").mkdir()
    for name in ("loop", "pipe", "folder"):
        with pytest.raises(DataError, match=f"{name}.png: (cannot be read|not a file)"):
            read_image(tmp_path / f"{name}.png")


@pytest.mark.parametrize("name", ["straße 7é.png", "a\nb.png", "名前.png", "-x.png", os.fsdecode(b"\xff\xfe.png")])
def test_odd_names_are_read(name, tmp_path):
    trees.save(tmp_path / name, trees.rgb(7))
    assert read_image(tmp_path / name).tolist() == trees.rgb(7).tolist()
    assert read_image(trees.save(tmp_path / f"{name}.jpg", trees.rgb(7))).shape == (4, 6, 3)


def test_a_class_table_maps_ids_there_and_back():
    table = ClassTable(("a", "b"), ((1, 2, 3), (4, 5, 6)), (9, 4), {9: 0, 4: 1, 0: 255})
    ids = np.array([[9, 4, 0]], np.uint8)
    train = table.to_train_ids(ids, "x")
    assert train.tolist() == [[0, 1, 255]] and train.dtype == np.uint8
    assert table.to_label_ids(train[:, :2]).tolist() == [[9, 4]]
    assert table.colorize(train).tolist() == [[[1, 2, 3], [4, 5, 6], [0, 0, 0]]]
    with pytest.raises(DataError, match=r"x.png: label id 3 \(2 pixels\).*\(0, 4, 9\)"):
        table.to_train_ids(np.array([[3, 3, 4]], np.uint8), "x.png")
