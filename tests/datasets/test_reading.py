"""Damaged and unusual files: what is read, and what is refused by name."""

import os
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from datasets import png
from datasets.base import ClassTable
from datasets.decoding import read_header
from datasets.reading import image_size, read_color_label, read_image, read_label
from tests.datasets import trees
from utils.errors import DataError


def test_images_of_every_mode_become_rgb(tmp_path):
    for mode in ("1", "L", "P", "LA", "RGBA", "CMYK"):
        path = tmp_path / f"{mode}.{'tif' if mode == 'CMYK' else 'png'}"
        Image.new("RGB", (6, 4), (255, 255, 255)).convert(mode).save(path)
        image = read_image(path)
        assert image.shape == (4, 6, 3) and image.dtype == np.uint8 and image.min() == 255, mode


@pytest.mark.parametrize(
    ("values", "largest"),
    [
        (np.array([[0, 25700, 65535]], np.uint16), 65535),
        (np.array([[0, 2000, 4095]], np.uint16), 4095),
        (np.array([[0, 7, 200]], np.uint16), 255),
        (np.array([[0, 5000, 9000]], np.int32), 16383),
        (np.array([[0, 0.5, 1.0]], np.float32), 1),
        (np.array([[0, 0.5, 250.0]], np.float32), 255),
    ],
)
def test_deep_images_are_scaled_by_the_smallest_range_that_holds_them(values, largest, tmp_path):
    path = tmp_path / "deep.tif"
    Image.fromarray(values).save(path)
    wanted = values.astype(np.float64) * 255 / largest
    image = read_image(path)
    assert image.dtype == np.uint8 and np.array_equal(image, np.repeat(image[..., :1], 3, axis=2))
    assert np.abs(image[..., 0] - wanted).max() < 1


@pytest.mark.parametrize("name", ["colors.png", "colors.tif"])
def test_colours_of_sixteen_bits_keep_their_bits_and_their_order(name, tmp_path):
    colors = np.arange(4 * 6 * 3).reshape(4, 6, 3).astype(np.uint16) * 50  # to 3550: 12 bits
    cv2.imwrite(str(tmp_path / name), colors[..., ::-1])
    assert np.array_equal(read_image(tmp_path / name), colors.astype(np.int64) * 255 // 4095)
    assert read_header(tmp_path / name).mode == "RGB;16"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.array([[0, np.nan]], np.float32), "float values reach from nan"),
        (np.array([[0, np.inf]], np.float32), "from 0 to inf"),
        (np.array([[-3, 1]], np.float32), "from -3 to 1"),
        (np.array([[0, 5e6]], np.float32), r"from 0 to 5e\+06.*0 to 1 or 0 to 255"),
        (np.array([[-1000, 3000]], np.int32), "from -1000 to 3000.*0 to 65535"),
    ],
)
def test_values_that_are_no_picture_are_refused_with_their_range(values, words, tmp_path):
    Image.fromarray(values).save(tmp_path / "odd.tif")
    with pytest.raises(DataError, match=f"odd.tif: its .*{words}"):
        read_image(tmp_path / "odd.tif")


def test_one_bright_picture_among_dark_ones_is_refused(tmp_path):
    bright = trees.save(tmp_path / "bright.png", np.full((4, 6), 60000, np.uint16))
    with pytest.raises(DataError, match="bright.png: 100% of its values are above 4095"):
        read_image(bright, largest=lambda header: 4095)


def test_tiffs_that_pillow_cannot_open_are_told_from_other_files(tmp_path):
    cv2.imwrite(str(tmp_path / "f.tif"), np.zeros((4, 6, 3), np.float32))
    with pytest.raises(DataError, match="f.tif: .*float with several channels.*8-bit"):
        read_image(tmp_path / "f.tif")


IDS = np.arange(24, dtype=np.uint8).reshape(4, 6)


@pytest.mark.parametrize(
    ("form", "ids"),
    [
        (Image.fromarray(IDS % 2 == 1), IDS % 2),
        (Image.merge("LA", [Image.fromarray(IDS), Image.fromarray(IDS * 10)]), IDS),
        (Image.fromarray(np.dstack([IDS] * 3)), IDS),
        (Image.fromarray(np.dstack([IDS] * 3 + [IDS * 0 + 255])), IDS),
        (Image.fromarray(IDS.astype(np.uint16)), IDS),
    ],
    ids=["1-bit", "grey + alpha", "R=G=B", "R=G=B + alpha", "16-bit"],
)
def test_ids_are_read_in_every_form(form, ids, tmp_path):
    form.save(tmp_path / "ids.png")
    label = read_label(tmp_path / "ids.png")
    assert label.dtype == np.uint8 and np.array_equal(label, ids)


def test_ids_are_read_from_integers_of_32_bits_and_colours_of_16(tmp_path):
    Image.fromarray(IDS.astype(np.int32)).save(tmp_path / "ids.tif")
    cv2.imwrite(str(tmp_path / "ids.png"), np.dstack([IDS] * 3).astype(np.uint16))
    assert all(np.array_equal(read_label(tmp_path / name), IDS) for name in ("ids.tif", "ids.png"))


def test_larger_numbers_and_floats_are_no_ids(tmp_path):
    with pytest.raises(DataError, match="deep.png: a label of 16 bits that holds 25700.*8-bit"):
        read_label(trees.save(tmp_path / "deep.png", np.full((4, 6), 25700, np.uint16)))
    Image.fromarray(IDS.astype(np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(DataError, match="float.tif: a label of mode F"):
        read_label(tmp_path / "float.tif")


@pytest.mark.parametrize("bits", [2, 4])
def test_ids_of_few_bits_are_refused_since_decoders_spread_them(bits, tmp_path):
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = zlib.compress(b"".join(b"\0" + bytes([0x1B] * bits) for _ in range(4)))  # 8 pixels a row
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 4, bits, 0, 0, 0, 0))
    (tmp_path / "few.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    assert Image.open(tmp_path / "few.png").getextrema()[1] > 2**bits
    with pytest.raises(DataError, match="few.png: a label of 2 or 4 bits a pixel"):
        read_label(tmp_path / "few.png")


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_the_camera_s_rotation_is_applied_where_asked_for(suffix, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / f"turned.{suffix}"
    Image.fromarray(trees.rgb(0)).save(path, exif=exif)
    assert read_image(path).shape == (6, 4, 3)
    assert read_image(path, upright=False).shape == (4, 6, 3) and image_size(path) == (4, 6)


def test_damaged_exif_turns_nothing(tmp_path):
    path = tmp_path / "a.webp"
    Image.fromarray(trees.rgb(0)).save(path, exif=b"Exif\0\0G\xbc\xc4\0\0\xfe\xde\x13")
    assert read_image(path).shape == read_image(path, upright=False).shape == (4, 6, 3)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_as_pillow_does(suffix, orientation, tmp_path):
    stored, path = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8), tmp_path / f"x.{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(path, exif=exif)
    with Image.open(path) as picture:
        assert np.array_equal(read_image(path), np.array(ImageOps.exif_transpose(picture)))
    assert np.array_equal(read_image(path, upright=False), stored)
    header = read_header(path)
    assert (header.size, header.orientation) == ((5, 7), orientation)
    assert header.upright_size == read_image(path).shape[:2]


@pytest.mark.parametrize("fast", [True, False])
def test_decoders_agree(fast, tmp_path, monkeypatch):
    if fast:
        pytest.importorskip("pyspng")
    else:
        monkeypatch.setattr(png, "pyspng", None)
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
    colors = trees.rgb(1)
    colors[1, 2, 0] = 9
    with pytest.raises(DataError, match="color.png: a label of colours, such as 9, 1, 1 at x 2, y 1.*save ids"):
        read_label(trees.save(tmp_path / "color.png", colors))
    assert np.array_equal(read_color_label(tmp_path / "color.png"), colors)
    picture = Image.fromarray(trees.gray(5)).convert("P")
    picture.putpalette([9, 9, 9] * 256)
    picture.putdata([5] * 24)
    picture.save(tmp_path / "palette.png")
    assert read_label(tmp_path / "palette.png").tolist() == trees.gray(5).tolist()
    assert read_color_label(tmp_path / "palette.png").tolist() == trees.rgb(9).tolist()


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
