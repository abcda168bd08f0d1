"""Small data sets on disk, one per layout."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets import camvid, merged
from datasets.base import FileSplit
from datasets.dataset import TrainingDataset
from datasets.loader import SafeDataLoader
from datasets.sampling.sampler import EpochSampler

REAL_CAMVID = Path(os.environ.get("FENET_CAMVID", Path(__file__).parents[3] / "shared" / "data" / "camvid"))
needs_camvid = pytest.mark.skipif(
    not (REAL_CAMVID / "trainannot").is_dir(), reason=f"needs CamVid at {REAL_CAMVID}; set FENET_CAMVID"
)

Size = tuple[int, int]
SMALL: Size = (4, 6)  # height, width


def save(path: Path, array: np.ndarray) -> Path:
    """Writes an image or label file, and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def sampler(samples: list, batch_size: int, rank: int = 0, world_size: int = 1, start: int = 0) -> EpochSampler:
    """A sampler that was told an epoch's samples."""
    made = EpochSampler(rank, world_size, batch_size)
    made.set_epoch(samples, start)
    return made


def train_loader(dataset: TrainingDataset, batches: EpochSampler, num_workers: int = 0, **options) -> SafeDataLoader:
    """Loader of the samples that the sampler was told."""
    return SafeDataLoader(dataset, batch_sampler=batches, num_workers=num_workers, **options)


def noisy_split(root: Path, sizes: list[Size]) -> FileSplit:
    """CamVid's train split with an image and a label of random pixels for each size."""
    rng = np.random.default_rng(0)
    for i, size in enumerate(sizes):
        save(root / "train" / f"s{i}.png", rng.integers(0, 256, (*size, 3)).astype(np.uint8))
        save(root / "trainannot" / f"s{i}.png", rng.integers(0, 12, size).astype(np.uint8))
    return camvid.build_split(root, "train")


def gray(value: int, height: int = 4, width: int = 6) -> np.ndarray:
    return np.full((height, width), value, np.uint8)


def rgb(value: int, height: int = 4, width: int = 6) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def noise(height: int = 4, width: int = 6, seed: int = 0) -> np.ndarray:
    """A picture that a network can be trained on: flat ones have no variance for its norms."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def make_cityscapes(
    root: Path, cities: dict[str, list[str]], frames: int = 2, nested: bool = False, size: Size = SMALL
) -> Path:
    """`cities`: official split -> city names; every pixel of a label is 7 (road)."""
    images = root / "leftImg8bit_trainvaltest" / "leftImg8bit" if nested else root / "leftImg8bit"
    labels = root / "gtFine_trainvaltest" / "gtFine" if nested else root / "gtFine"
    for split, names in cities.items():
        for city in names:
            for frame in range(frames):
                name = f"{city}_{frame:06d}_000019"
                save(images / split / city / f"{name}_leftImg8bit.png", rgb(frame, *size))
                save(labels / split / city / f"{name}_gtFine_labelIds.png", gray(7, *size))
    return root


def make_camvid(root: Path, count: int = 3, size: Size = SMALL) -> Path:
    """`count` samples in each of train, val and test; image i is all i, its label all i modulo 12."""
    for s, split in enumerate(("train", "val", "test")):
        for i in range(count):
            save(root / split / f"seq{s}_{i:03d}.png", rgb(i, *size))
            save(root / f"{split}annot" / f"seq{s}_{i:03d}.png", gray(i % 12, *size))
    return root


def make_folder(root: Path, names: list[str], part: str = "", value: int = 0, classes: object = None) -> Path:
    """Images and masks (all `value`) named `names` below `images/part`; classes road 0 and car 3 unless given."""
    for name in names:
        save(root / "images" / part / f"{name}.png", rgb(9))
        save(root / "masks" / part / f"{name}.png", gray(value))
    default = {"classes": [{"name": "road", "id": 0, "color": [1, 2, 3]}, {"name": "car", "id": 3}], "ignore": [255]}
    (root / "classes.json").write_text(json.dumps(classes or default))
    return root


def make_coarse(root: Path, cities: list[str], frames: int = 2, nested: bool = False, size: Size = SMALL) -> Path:
    """Coarse part of Cityscapes; every pixel of a label is 26 (car) on the left and 0 (unlabelled) on the right."""
    images = root / "leftImg8bit_trainextra" / "leftImg8bit" if nested else root / "leftImg8bit"
    labels = root / "gtCoarse" / "gtCoarse" if nested else root / "gtCoarse"
    for city in cities:
        for frame in range(frames):
            name = f"{city}_000000_{frame:06d}"
            label = gray(26, *size)
            label[:, size[1] // 2 :] = 0
            save(images / "train_extra" / city / f"{name}_leftImg8bit.png", rgb(frame, *size))
            save(labels / "train_extra" / city / f"{name}_gtCoarse_labelIds.png", label)
    return root


def make_kitti(root: Path, count: int = 10, size: Size = SMALL) -> Path:
    """`count` labelled images and 2 for the test; every pixel of a label is 7 (road)."""
    for i in range(count):
        save(root / "training" / "image_2" / f"{i:06d}_10.png", rgb(i, *size))
        save(root / "training" / "semantic" / f"{i:06d}_10.png", gray(7, *size))
    for i in range(2):
        save(root / "testing" / "image_2" / f"{i:06d}_10.png", rgb(i, *size))
    return root


def make_mapillary(root: Path, archive: str = "1.2", size: Size = SMALL) -> Path:
    """Two images a part, all pixels of id 2 (Car), in the layout of version 1.2 or of the archive of version 2.0."""
    rows = [
        {"name": "animal--bird", "readable": "Bird", "evaluate": True, "color": [165, 42, 42], "instances": True},
        {"name": "void--unlabeled", "readable": "Unlabeled", "evaluate": False, "color": [0, 0, 0]},
        {"name": "object--vehicle--car", "readable": "Car", "evaluate": True, "color": [0, 0, 142]},
    ]
    path = root / ("config.json" if archive == "1.2" else "config_v1.2.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"labels": rows, "version": 1.2, "mapping": "public"}))
    for part in ("training", "validation", "testing"):
        for i in range(2):
            save(root / part / "images" / f"{part}{i}.jpg", rgb(i, *size))
            if part != "testing":
                label = Image.fromarray(gray(2, *size)).convert("P")
                label.putpalette([channel for row in rows for channel in row["color"]])
                label.putdata([2] * (size[0] * size[1]))
                folder = root / part / "labels" if archive == "1.2" else root / part / "v1.2" / "labels"
                folder.mkdir(parents=True, exist_ok=True)
                label.save(folder / f"{part}{i}.png")
    return root


def make_bdd100k(root: Path, year: int = 2020, size: Size = SMALL) -> Path:
    """Two images a part, all pixels of train id 13 (car), in the layout of 2018 or the later one."""
    images, labels, tail = root / "images" / "10k", root / "labels" / "sem_seg" / "masks", ""
    if year == 2018:
        images, labels, tail = root / "seg" / "images", root / "seg" / "labels", "_train_id"
    for part in ("train", "val", "test"):
        for i in range(2):
            save(images / part / f"{part}-{i}.jpg", rgb(i, *size))
            if part != "test":
                save(labels / part / f"{part}-{i}{tail}.png", gray(13, *size))
    return root


def make_idd(root: Path, size: Size = SMALL) -> Path:
    """Two sequences a part, of one frame each and of one name, all pixels of level-3 id 8 (autorickshaw)."""
    for number, part in enumerate(("train", "val", "test")):
        for i, suffix in enumerate(("png", "jpg")):
            place = f"{part}/{2 * number + i}/frame0001"
            save(root / "leftImg8bit" / f"{place}_leftImg8bit.{suffix}", rgb(i, *size))
            if part != "test":
                save(root / "gtFine" / f"{place}_gtFine_labellevel3Ids.png", gray(8, *size))
                (root / "gtFine" / f"{place}_gtFine_polygons.json").write_text("{}")
    return root


def make_mapillary_v2(root: Path, size: Size = SMALL) -> Path:
    """As `make_mapillary`, the archive of version 2.0 with the labels of both versions."""
    make_mapillary(root, "2.0", size)
    (root / "config_v1.2.json").rename(root / "config_v2.0.json")
    for part in ("training", "validation"):
        (root / part / "v1.2").rename(root / part / "v2.0")
    return root


def make_acdc(root: Path, size: Size = SMALL) -> Path:
    """A sequence of two frames for each condition and part, all pixels of 23 (sky), and a reference image."""
    for condition in ("fog", "night", "rain", "snow"):
        for part in ("train", "val", "test"):
            for i in range(2):
                place = f"{condition}/{part}/GOPR0{part[0]}/GOPR0{part[0]}_frame_{i:06d}"
                save(root / "rgb_anon" / f"{place}_rgb_anon.png", rgb(i, *size))
                if part != "test":
                    save(root / "gt" / f"{place}_gt_labelIds.png", gray(23, *size))
                    save(root / "gt" / f"{place}_gt_labelTrainIds.png", gray(10, *size))
            save(
                root / "rgb_anon" / condition / f"{part}_ref" / "GOPR0" / "GOPR0_frame_000000_rgb_ref_anon.png", rgb(9)
            )
    return root


def make_merged(root: Path, size: Size = SMALL) -> Path:
    """The four data sets; Mapillary's configuration has all classes that are Cityscapes', and id 2 is Crosswalk."""
    for name, make_one in (("bdd100k", make_bdd100k), ("idd", make_idd), ("mapillary", make_mapillary)):
        make_one(root / name, size=size)
    make_cityscapes(root / "cityscapes", CITIES, size=size)
    names = [name for same in merged.MAPILLARY.values() for name in same]
    names = ["Bird", "Billboard", "Lane Marking - Crosswalk", *(n for n in names if n != "Lane Marking - Crosswalk")]
    rows = [{"name": n, "readable": n, "evaluate": True, "color": [i, i, i]} for i, n in enumerate(names)]
    (root / "mapillary" / "config.json").write_text(json.dumps({"labels": rows}))
    return root


CITIES = {"train": ["aachen", "ulm"], "val": ["munster"], "test": ["berlin"]}
MAKERS = {
    "acdc": make_acdc,
    "bdd100k": make_bdd100k,
    "bdd100k_2018": lambda root, **options: make_bdd100k(root, 2018, **options),
    "camvid": make_camvid,
    "cityscapes": lambda root, **options: make_cityscapes(root, CITIES, **options),
    "idd": make_idd,
    "kitti": make_kitti,
    "mapillary": make_mapillary,
    "mapillary_v2": make_mapillary_v2,
    "merged_dataset": make_merged,
    "mapillary_2.0": lambda root, **options: make_mapillary(root, "2.0", **options),
}


def make(name: str, root: Path, size: Size = SMALL) -> Path:
    """A whole data set with train, val and test."""
    return MAKERS[name](root, size=size)
