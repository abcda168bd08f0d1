"""Small drawn data sets for the cases: a yard with ground, sky, a box and a plant; and the programs that meet them."""

import itertools
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import train
from scripts import doctor

NAMES = ("ground", "sky", "box", "plant")
COLORS = ((128, 64, 128), (70, 130, 180), (220, 20, 60), (107, 142, 35))
SPLITS = {"train": 6, "val": 3}
Save = Callable[[np.ndarray, Path], object]


def scene(number: int, height: int = 96, width: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """Image (H,W,3) uint8 and label (H,W) uint8, ids 0 to 3; another one for each number."""
    rng = np.random.default_rng(number)
    label = np.zeros((height, width), np.uint8)
    label[: height // 2] = 1
    left, top = rng.integers(0, 2 * width // 3), rng.integers(height // 4, 2 * height // 3)
    label[top : top + height // 4, left : left + width // 4] = 2
    left = rng.integers(0, 3 * width // 4)
    label[height // 2 - 8 : height // 2 + 12, left : left + width // 6] = 3
    image = np.array(COLORS)[label] + rng.normal(0, 20, (height, width, 3))
    return np.clip(image, 0, 255).astype(np.uint8), label


def save(pixels: np.ndarray, path: Path) -> None:
    """Write an image or a label as it is."""
    Image.fromarray(pixels).save(path)


def rows(*names: str, **ids: int) -> list[dict]:
    """Classes for `write_classes`: `names` numbered from 0, then those with an id of their own."""
    return [{"name": name, "id": i} for i, name in enumerate(names)] + [{"name": n, "id": i} for n, i in ids.items()]


def write_classes(root: Path, classes: list[dict] | None = None, **more: object) -> None:
    """`classes.json`; by default of the drawn classes, with their colours."""
    if classes is None:
        classes = [row | {"color": list(color)} for row, color in zip(rows(*NAMES), COLORS, strict=True)]
    text = json.dumps({"classes": classes, **more}, ensure_ascii=False)
    (root / "classes.json").write_text(text, encoding="utf-8")


def make(
    root: Path,
    splits: Mapping[str, int] = SPLITS,
    size: tuple[int, int] = (96, 128),
    suffix: str = ".png",
    save_image: Save = save,
    save_mask: Save = save,
) -> Path:
    """A `folder` data set.

    Args:
        root: Its folder, made here.
        splits: Folders below `images` and `masks`, with the number of scenes in each; `""`: in those folders.
        size: (height, width) of the scenes.
        suffix: Of the images' files.
        save_image: Called with each image and its path.
        save_mask: The same for labels.
    """
    numbers = itertools.count()
    for split, count in splits.items():
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True, exist_ok=True)
        for number in itertools.islice(numbers, count):
            image, label = scene(number, *size)
            save_image(image, root / "images" / split / f"{number:03d}{suffix}")
            save_mask(label, root / "masks" / split / f"{number:03d}.png")
    write_classes(root)
    return root


def options(data: Path, *more: str) -> list[str]:
    """A run of one epoch that takes about a second, as train.py and the doctor take it."""
    return [
        *("--dataset", "folder", "--data_root", str(data), "--arch", "fenet_tiny", "--channels", "16"),
        *("--crop_size", "96", "--class_uniform_tile", "96", "--bs_mult", "2", "--max_epoch", "1"),
        *("--num_workers", "0", "--device", "cpu", *more),
    ]


class Programs:
    """train.py and the doctor in this process; each returns its exit code and what it prints.

    Args:
        capsys: pytest's.
        out: Folder of the runs.
    """

    def __init__(self, capsys: pytest.CaptureFixture, out: Path) -> None:
        self.capsys, self.out = capsys, out

    def train(self, data: Path, *more: str) -> tuple[int, str]:
        """A run of its own."""
        places = ("--ckpt", str(self.out), "--exp", "run", "--resume", "never", "--no-report", "--log_every", "1")
        return self._run(train.main, options(data, *places, *more))

    def doctor(self, data: Path, *more: str) -> tuple[int, str]:
        """Without the rehearsal; lines that were folded are joined."""
        code, text = self._run(doctor.main, options(data, "--no-rehearsal", *more))
        return code, " ".join(text.split())

    def _run(self, main: Callable, argv: list[str]) -> tuple[int, str]:
        self.capsys.readouterr()
        code = main(argv)
        said = self.capsys.readouterr()
        return code, said.out + said.err
