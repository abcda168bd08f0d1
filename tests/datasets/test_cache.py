"""Pixel caches: the same samples, made once, rebuilt where they don't fit, and gone with the run where in memory."""

import os
import pickle
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import datasets
from datasets import camvid
from datasets.cache import cache_key, open_cache
from datasets.dataset import TrainingDataset
from datasets.part import SubsetSplit
from datasets.pixel_file import PixelFile
from datasets.sampling.class_uniform import extract_centroids, sample_epoch
from datasets.synthetic.split import SyntheticSplit
from tests.datasets import trees
from tests.processes import Job, launch
from transforms import AugmentOptions, CropWindow, RandomAugment, TrainTransform
from utils import distributed
from utils.cli import run_main
from utils.errors import DataError, EnvironmentFault

linux = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="needs Linux")


@pytest.fixture
def split(tmp_path):
    """Images of different sizes."""
    return trees.noisy_split(tmp_path / "data", [(20 + i, 30 - i) for i in range(6)])


def only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


@pytest.mark.parametrize("where", [pytest.param("ram", marks=linux), "disk", "path"])
def test_samples_are_the_same_with_a_cache(split, tmp_path, where):
    cache = open_cache(split, str(tmp_path / "named") if where == "path" else where, tmp_path / "disk")
    assert (tmp_path / "named").exists() == (where == "path") and (tmp_path / "disk").exists() == (where == "disk")
    for index in range(len(split)):
        image, label = cache.load(index)
        assert np.array_equal(image, split.load_image(index)) and np.array_equal(label, split.load_label(index))
        assert not image.flags.writeable and not label.flags.writeable
    sampler = trees.sampler(sample_epoch(6, extract_centroids(split, 16), 0.5, 0, 0), 2)
    transform = TrainTransform(RandomAugment(AugmentOptions(crop_size=16)))
    batches = [
        list(trees.train_loader(TrainingDataset(split, transform, 0, kept), sampler, workers))
        for kept, workers in ((None, 0), (cache, 0), (cache, 2))
    ]
    for plain, *others in zip(*batches, strict=True):
        for other in others:
            assert torch.equal(plain["image"], other["image"]) and torch.equal(plain["label"], other["label"])


def test_windows_travel_through_workers(split, tmp_path):
    sampler = trees.sampler(sample_epoch(6, None, 0, 0, 0), 3)
    transform = CropWindow(RandomAugment(AugmentOptions(crop_size=16)))
    dataset = TrainingDataset(split, transform, 0, open_cache(split, "disk", tmp_path))
    alone, others = (list(trees.train_loader(dataset, sampler, workers)) for workers in (0, 2))
    for a, b in zip(alone, others, strict=True):
        assert torch.equal(a["windows"], b["windows"]) and a["windows"].dtype == torch.uint8
        assert a["shapes"] == b["shapes"] and a["augmentation"] == b["augmentation"] and len(a["name"]) == 3
        assert sum(map(np.prod, a["shapes"])) == len(a["windows"])


def test_a_cache_survives_being_sent_to_another_process(split, tmp_path):
    cache = pickle.loads(pickle.dumps(open_cache(split, "disk", tmp_path / "c")))
    assert np.array_equal(cache.load(5)[0], split.load_image(5))


def test_a_file_is_used_again_until_the_data_change(split, tmp_path, caplog):
    open_cache(split, "disk", tmp_path / "c")
    path = only_file(tmp_path / "c")
    made = path.stat().st_mtime_ns
    open_cache(split, "disk", tmp_path / "c")
    assert path.stat().st_mtime_ns == made
    label = split.load_label(0)
    trees.save(split.items[0].label, np.full(label.shape, 3, np.uint8))
    split = camvid.build_split(tmp_path / "data", "train")
    assert np.array_equal(open_cache(split, "disk", tmp_path / "c").load(0)[1], split.load_label(0))
    assert len(list((tmp_path / "c").iterdir())) == 2


def test_a_part_is_read_anew_where_the_rest_changes_how(tmp_path):
    def deep(name: str, top: int) -> None:
        values = np.linspace(0, top, 24 * 32).reshape(24, 32)
        trees.save(tmp_path / "data" / "train" / name, values.astype(np.uint16))
        trees.save(tmp_path / "data" / "trainannot" / name, trees.gray(0, 24, 32))

    for number in range(4):
        deep(f"{number}.png", 4000)
    key, mean = (open_part(tmp_path / "data", tmp_path / "c") for _ in range(2))
    assert key == mean  # the same files, the same pixels
    deep("3.png", 60000)  # isn't in the part
    assert open_part(tmp_path / "data", tmp_path / "c")[1] < mean[1] / 8


def open_part(root: Path, cache: Path) -> tuple[str, float]:
    """The key of the first image's cache, and the mean of its pixels."""
    part = SubsetSplit(datasets.build_split("camvid", root, "train"), [0])
    return cache_key(part), float(open_cache(part, "disk", cache).load(0)[0].mean())


@pytest.mark.parametrize("damage", ["short", "long", "header", "magic", "empty", "json"])
def test_a_damaged_file_is_made_anew(split, tmp_path, damage):
    open_cache(split, "disk", tmp_path)
    path = next(tmp_path.glob("*.pixels"))
    data = path.read_bytes()
    damaged = {
        "short": data[:-1],
        "long": data + b"x",
        "header": data[:100] + bytes([data[100] ^ 1]) + data[101:],
        "magic": b"x" + data[1:],
        "empty": b"",
        "json": data[:30],
    }
    path.write_bytes(damaged[damage])
    with pytest.raises(ValueError):
        PixelFile(path, cache_key(split))
    assert np.array_equal(open_cache(split, "disk", tmp_path).load(3)[0], split.load_image(3))
    assert path.read_bytes() == data


def test_a_bad_sample_leaves_no_file(split, tmp_path):
    path = split.items[4].image
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=str(path)):
        open_cache(split, "disk", tmp_path / "c")
    assert not list((tmp_path / "c").iterdir())


def test_leftovers_of_a_killed_run_are_removed(split, tmp_path, monkeypatch):
    leftover = tmp_path / "c" / ".camvid_train_0.pixels.999.tmp"
    leftover.parent.mkdir()
    leftover.write_bytes(b"x")
    gone = leftover.with_name(".camvid_val_0.pixels.998.tmp")  # listed, and finished by its owner meanwhile
    monkeypatch.setattr(Path, "glob", lambda folder, pattern, found=Path.glob: [gone, *found(folder, pattern)])
    open_cache(split, "disk", tmp_path / "c")
    assert not leftover.exists()


@pytest.mark.parametrize("where", [pytest.param("ram", marks=linux), "disk"])
def test_too_little_room_is_said_before_anything_is_made(split, tmp_path, monkeypatch, where):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(2000, 1000, 1000))
    monkeypatch.setattr("datasets.cache.free_memory", lambda: 1000)
    with pytest.raises(EnvironmentFault, match="needs 0.00 GiB for the pixels of 6 samples of camvid train.*--cache"):
        open_cache(split, where, tmp_path / "c")
    assert not (tmp_path / "c").exists() or not list((tmp_path / "c").iterdir())


def test_drawn_scenes_can_be_cached(tmp_path):
    split = SyntheticSplit("train", count=3, height=32, width=48)
    assert np.array_equal(open_cache(split, "disk", tmp_path).load(2)[1], split.load_label(2))


def hold() -> None:
    """Caches two scenes in memory, says where, and waits."""
    split = SyntheticSplit("train", count=2, height=256, width=512)
    cache = open_cache(split, "ram", Path("x"))
    print(cache.path, flush=True)
    time.sleep(60)


@linux
def test_memory_is_given_back_even_by_a_kill():
    with Job([hold]) as job:
        path = Path(next(job.follow()).strip())
        assert path.stat().st_size > 2 * 256 * 512 * 4
    assert not path.exists() and not list(Path("/dev/shm").glob("fenet*"))


def share(root: Path, where: str, folder: Path) -> int:
    """What each process of a run does with its cache."""

    def body(argv: list) -> None:
        with distributed.job("cpu") as process:
            split = camvid.build_split(root, "train")
            cache = open_cache(split, where, folder)
            total = sum(int(cache.load(i)[0].sum()) for i in range(len(split)))
            sys.stdout.write(f"rank {process.rank} sum {total} {cache.path}\n")  # at once: both write to one file

    return run_main(body, [])


@linux
def test_processes_of_a_node_share_one_cache(split, tmp_path):
    result = launch([share, tmp_path / "data", "ram", tmp_path / "c"], 2, 60)
    assert result.returncode == 0, result.stderr
    lines = sorted(line.split() for line in result.stdout.splitlines() if line.startswith("rank"))
    total = sum(int(split.load_image(i).sum()) for i in range(6))
    assert [line[1] for line in lines] == ["0", "1"], (result.stdout, result.stderr)
    assert {int(line[3]) for line in lines} == {total} and lines[0][4] == lines[1][4]


def test_a_bad_sample_ends_all_processes(split, tmp_path):
    split.items[2].image.write_bytes(b"")
    result = launch([share, tmp_path / "data", "disk", tmp_path / "c"], 2, 60)
    assert 0 not in result.returncodes and f"error: {split.items[2].image}: the file is empty" in result.stderr
