"""Mutated images and labels: read by the readers themselves, and by demo, evaluation and training."""

import io
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

import demo_folder
import eval as evaluation
import train
from datasets.reading import MAX_PIXELS, read_image, read_label
from tests.campaigns.fuzz.guard import Guard, call, judge
from tests.campaigns.fuzz.mutations import Rng, mutate
from tests.campaigns.fuzz.world import CLASS_TABLE, World
from utils.errors import DataError

ENDED = (3,)  # allowed besides 0
NAMES = (  # of files, as bytes; what a shell, a terminal, a format string or a path could take amiss
    *(
        b"a b",
        b"-rf",
        b"--help",
        b"$(touch CANARY)",
        b"`touch CANARY`",
        b"a;touch CANARY",
        b"%s%n{0}",
        b"a\nb",
        b"a\rb",
    ),
    *(b"\x1b[31mred", b"\xff\xfe\x80", "ü\u202ename".encode(), b"x" * 240, b"..", b"...a", b"~", b"a'b\"c", b"*?[a]"),
    *(b"CON", b"<img src=x onerror=alert(1)>", b"a\\b", b"=1+1", b"a\tb", "\ud7ff".encode(), b"a.png.exe"),
)
FORMATS = {  # suffix, modes, options
    "PNG": (".png", ("L", "P", "RGB", "RGBA", "1", "I;16", "LA"), ({}, {"optimize": True})),
    "JPEG": (".jpg", ("L", "RGB", "CMYK"), ({}, {"progressive": True}, {"subsampling": 0})),
    "BMP": (".bmp", ("L", "P", "RGB", "1"), ({},)),
    "PPM": (".ppm", ("L", "RGB", "1", "I;16"), ({},)),
    "TIFF": (
        ".tif",
        ("L", "P", "RGB", "RGBA", "I;16", "F", "1", "CMYK"),
        ({}, {"compression": "tiff_lzw"}, {"compression": "tiff_deflate"}, {"compression": "jpeg"}),
    ),
    "WEBP": (".webp", ("RGB", "RGBA"), ({}, {"lossless": True})),
    "GIF": (".gif", ("L", "P"), ({},)),
}


def picture(rng: Rng, kind: str | None = None) -> tuple[bytes, str]:
    """A whole image file of any format and mode, and its suffix."""
    kind = kind or str(rng.choice(list(FORMATS)))
    suffix, modes, options = FORMATS[kind]
    mode, chosen = modes[rng.integers(len(modes))], options[rng.integers(len(options))]
    height, width = rng.integers(1, 49, 2)
    if mode == "I;16":
        image = Image.fromarray(rng.integers(0, 1 << 16, (height, width), dtype=np.uint16))
    else:
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).convert(mode)
    if chosen.get("compression") == "jpeg" and mode not in ("L", "RGB"):
        chosen = {}
    file = io.BytesIO()
    if rng.random() < 0.2 and kind in ("JPEG", "PNG", "WEBP", "TIFF"):
        exif = Image.Exif()
        exif[0x0112] = int(rng.integers(1, 9))  # orientation
        chosen = {**chosen, "exif": exif}
    image.save(file, kind, **chosen)
    return file.getvalue(), suffix


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def lying_png(rng: Rng) -> bytes:
    """A PNG of a few bytes that claims to be huge, its checksums right."""
    width, height = (int(rng.choice([1, 7, 11_000, 60_000, 2**31 - 1])) for _ in range(2))
    bits, kind = ((1, 0), (8, 0), (8, 2), (16, 6), (8, 3))[rng.integers(5)]
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, int(rng.integers(2)))
    chunks = [_chunk(b"IHDR", header), _chunk(b"PLTE", bytes(6)), _chunk(b"IDAT", zlib.compress(bytes(1000)))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + _chunk(b"IEND", b"")


def bomb_png(rng: Rng) -> bytes:
    """A small PNG with a text or colour profile that unpacks to 64 MiB."""
    packed = zlib.compress(bytes(1 << 26), 9)
    name, head = ((b"zTXt", b"a\0\0"), (b"iCCP", b"a\0\0"), (b"iTXt", b"a\0\1\0\0\0"))[rng.integers(3)]
    chunks = [_chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 0, 0, 0, 0)), _chunk(name, head + packed)]
    chunks.append(_chunk(b"IDAT", zlib.compress(bytes(20))))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + _chunk(b"IEND", b"")


def lying_header(rng: Rng) -> bytes:
    """60000x60000 pixels and the like, in formats whose header is plain."""
    width, height = (int(rng.choice([1, 11_000, 60_000, 2**30])) for _ in range(2))
    forms = (
        f"P{rng.integers(1, 7)} {width} {height} 255\n".encode() + bytes(100),
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 200, 0, 0, 54, 40, width, -height, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(99),
        b"GIF89a" + struct.pack("<HHBBB", width % 65536, height % 65536, 0x80, 0, 0) + bytes(6) + b"\x2c" + bytes(99),
    )
    return forms[rng.integers(len(forms))]


def program(rng: Rng) -> bytes:
    """Formats that are programs, or that other programs are started for; no image of ours."""
    forms = (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(CANARY) (w) file closefile\nshowpage\n%%EOF\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
        b"push graphic-context\nfill 'url(|touch CANARY)'\npop graphic-context",
        b"\xc5\xd0\xd3\xc6" + struct.pack("<IIIIII", 32, 99, 0, 0, 0, 0) + b"%!PS-Adobe-3.0 EPSF-3.0\n" + bytes(99),
        b"#!/bin/sh\ntouch CANARY\n",
    )
    return forms[rng.integers(len(forms))]


def make_file(rng: Rng) -> tuple[bytes, str]:
    """A damaged, lying or hostile file and its suffix."""
    dice = rng.random()
    if dice < 0.05:
        return picture(rng)
    if dice < 0.80:
        data, suffix = picture(rng)
        return mutate(data, rng), suffix if rng.random() < 0.9 else ".png"
    makers: tuple[Callable[[Rng], bytes], ...] = (lying_png, bomb_png, lying_header, program)
    return makers[rng.integers(len(makers))](rng), str(rng.choice([".png", ".jpg", ".tif"]))


def check_readers(path: Path, guard: Guard) -> tuple[str, list[str]]:
    """Both readers on one file: an array as promised, or a `DataError` that names the file."""
    outcomes, found = [], []
    for read, depth in ((read_image, 3), (read_label, 2)):
        try:
            with guard.watch() as seen:
                array = read(path)
                if depth == 2:
                    CLASS_TABLE.to_train_ids(array, path)
            outcomes.append("read")
            if array.dtype != np.uint8 or array.ndim != depth or array.shape[0] * array.shape[1] > MAX_PIXELS:
                found.append(f"{read.__name__} gives {array.dtype} {array.shape}")
        except DataError as error:
            outcomes.append("refused")
            if str(path) not in str(error):
                found.append(f"{read.__name__} doesn't name the file: {error}")
        except Exception as error:
            outcomes.append("raised")
            found.append(f"{read.__name__}: {type(error).__name__}: {error}")
        found += seen
    return "/".join(outcomes), found


def images(world: World) -> Callable[[Rng, Path, Guard], tuple[str, list[str]]]:
    """The target: three cases of four are files for the readers, one is a call of an entry point."""

    def target(rng: Rng, place: Path, guard: Guard) -> tuple[str, list[str]]:
        if rng.random() < 0.75:
            data, suffix = make_file(rng)
            path = place / f"file{suffix}"
            path.write_bytes(data)
            return check_readers(path, guard)
        entry = (into_demo, into_labels, into_training)[rng.integers(3)]
        argv, main = entry(world, rng, place)
        with guard.watch() as seen:
            done = call(main, argv, place / "printed")
        return f"{entry.__name__} {done.code}", judge(done, ENDED) + seen

    return target


def into_demo(world: World, rng: Rng, place: Path) -> tuple[list[str], Callable]:
    """A folder of hostile files with hostile names."""
    folder = place / "photos"
    folder.mkdir()
    for _ in range(rng.integers(1, 6)):
        data, suffix = make_file(rng)
        name = NAMES[rng.integers(len(NAMES))] + suffix.encode()
        Path(folder, name.decode("utf-8", "surrogateescape")).write_bytes(data)
    options = ["--legend", "--label_ids", "--side_by_side"][: rng.integers(4)]
    snapshot = ["--snapshot", world.best, "--save_dir", place / "out", "--max_pixels", "40000"]
    return ["--source", folder, *snapshot, "--device", "cpu", *options], demo_folder.main


def _hostile_data(world: World, rng: Rng, place: Path) -> Path:
    """A copy of the data with one more sample, of which image or label is damaged."""
    root = place / "data"
    shutil.copytree(world.data, root)
    name = NAMES[rng.integers(len(NAMES))].decode("utf-8", "surrogateescape")
    splits = ("train", "val")
    kinds = [("images", "masks"), ("masks", "images")][rng.integers(2)]
    for split in splits:
        whole = next((root / kinds[1] / split).iterdir())
        shutil.copyfile(whole, root / kinds[1] / split / f"{name}.png")
        data = make_file(rng)[0] if rng.random() < 0.5 else mutate(picture(rng, "PNG")[0], rng)
        (root / kinds[0] / split / f"{name}.png").write_bytes(data)
    return root


def into_labels(world: World, rng: Rng, place: Path) -> tuple[list[str], Callable]:
    """An evaluation with one such sample."""
    root = _hostile_data(world, rng, place)
    options = ["--dump_images"] if rng.random() < 0.5 else []
    argv = ["--snapshot", world.best, "--data_root", root, "--save_dir", place / "out", "--bootstrap", "20"]
    return [*argv, "--device", "cpu", "--num_workers", "0", "--max_pixels", "40000", *options], evaluation.main


def into_training(world: World, rng: Rng, place: Path) -> tuple[list[str], Callable]:
    """A step of training with one such sample."""
    root = _hostile_data(world, rng, place)
    share = str(rng.choice([0, 0.5]))
    argv = world.train_args(root, place / "out", "--class_uniform_pct", share)
    return [*argv, "--max_steps", "3", "--max_pixels", "40000", "--no-report"], train.main
