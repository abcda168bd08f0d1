"""Small data sets on disk, one per layout."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

REAL_CAMVID = Path(os.environ.get("FENET_CAMVID", Path(__file__).parents[3] / "shared" / "data" / "camvid"))
needs_camvid = pytest.mark.skipif(
    not (REAL_CAMVID / "trainannot").is_dir(), reason=f"needs CamVid at {REAL_CAMVID}; set FENET_CAMVID"
)


def save(path: Path, array: np.ndarray) -> Path:
    """Writes an image or label file, and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def gray(value: int, height: int = 4, width: int = 6) -> np.ndarray:
    return np.full((height, width), value, np.uint8)


def rgb(value: int, height: int = 4, width: int = 6) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def make_cityscapes(root: Path, cities: dict[str, list[str]], frames: int = 2, nested: bool = False) -> Path:
    """`cities`: official split -> city names; every pixel of a label is 7 (road)."""
    images = root / "leftImg8bit_trainvaltest" / "leftImg8bit" if nested else root / "leftImg8bit"
    labels = root / "gtFine_trainvaltest" / "gtFine" if nested else root / "gtFine"
    for split, names in cities.items():
        for city in names:
            for frame in range(frames):
                name = f"{city}_{frame:06d}_000019"
                save(images / split / city / f"{name}_leftImg8bit.png", rgb(frame))
                save(labels / split / city / f"{name}_gtFine_labelIds.png", gray(7))
    return root


def make_camvid(root: Path, count: int = 3) -> Path:
    """`count` samples in each of train, val and test; image i is all i, its label all i modulo 12."""
    for s, split in enumerate(("train", "val", "test")):
        for i in range(count):
            save(root / split / f"seq{s}_{i:03d}.png", rgb(i))
            save(root / f"{split}annot" / f"seq{s}_{i:03d}.png", gray(i % 12))
    return root


def make_folder(root: Path, names: list[str], part: str = "", value: int = 0, classes: object = None) -> Path:
    """Images and masks (all `value`) named `names` below `images/part`; classes road 0 and car 3 unless given."""
    for name in names:
        save(root / "images" / part / f"{name}.png", rgb(9))
        save(root / "masks" / part / f"{name}.png", gray(value))
    default = {"classes": [{"name": "road", "id": 0, "color": [1, 2, 3]}, {"name": "car", "id": 3}], "ignore": [255]}
    (root / "classes.json").write_text(json.dumps(classes or default))
    return root
