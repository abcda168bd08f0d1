"""Shared pieces: one thread per process, small folders of labelled images, command lines of the entry points."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

# before anything that makes threads is loaded; what tests start inherits it
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), "1")

import hypothesis
import numpy as np
import pytest
import torch
from PIL import Image

import network
import train
from datasets.base import ClassTable
from engine.checkpoint.snapshot import save_snapshot
from scripts.benchmarks import roofline

hypothesis.settings.register_profile("quiet", deadline=None)  # another process may have the processor
hypothesis.settings.load_profile("quiet")
CLASSES = [{"name": name, "id": i} for i, name in enumerate(("sky", "road", "car", "tree"))]


def make_scenes(root: Path, count: int, height: int = 48, width: int = 64, seed: int = 0, ignore: bool = False) -> Path:
    """A `folder` data set: blocky labels, images coloured by them with noise; half as many for validation."""
    rng = np.random.default_rng(seed)
    for split, number in (("train", count), ("val", max(1, count // 2))):
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True, exist_ok=True)
        for i in range(number):
            blocks = rng.integers(0, len(CLASSES), (height // 8 + 1, width // 8 + 1))
            label = np.kron(blocks, np.ones((8, 8), int))[:height, :width].astype(np.uint8)
            if ignore:
                label[:4] = 255
            image = np.clip(60 * label[..., None] + rng.integers(0, 60, (height, width, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(image).save(root / "images" / split / f"{i:03d}.png")
            Image.fromarray(label).save(root / "masks" / split / f"{i:03d}.png")
    (root / "classes.json").write_text(json.dumps({"classes": CLASSES, "ignore": [255]}))
    return root


@pytest.fixture
def scenes(tmp_path) -> Path:
    return make_scenes(tmp_path / "data", 9)


def train_args(data: Path, out: Path, *more: str) -> list[str]:
    """A run of a small model on a `make_scenes` folder, on the CPU."""
    return [
        *("--arch", "fenet_tiny", "--channels", "16", "--dataset", "folder", "--data_root", str(data)),
        *("--ckpt", str(out), "--exp", "run", "--crop_size", "32", "--bs_mult", "2", "--max_epoch", "2"),
        *("--num_workers", "0", "--log_every", "1", "--lr", "0.01", "--device", "cpu", "--no-report", *more),
    ]


def eval_args(snapshot: Path, data: Path, out: Path, *more: str) -> list[str]:
    """An evaluation of a snapshot on a `make_scenes` folder, on the CPU."""
    argv = ["--snapshot", str(snapshot), "--data_root", str(data), "--save_dir", str(out)]
    return [*argv, "--num_workers", "0", "--device", "cpu", *more]


@dataclass(frozen=True)
class Run:
    """A trained model: the data set's folder, the run's folder, and its snapshots. Nothing in them is to be changed."""

    data: Path
    folder: Path

    @property
    def best(self) -> Path:
        return self.folder / "best.pth"

    @property
    def last(self) -> Path:
        return self.folder / "last.pth"


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Run:
    """A run with a report, long enough to tell all classes; 9 images to train on, 4 to validate on."""
    base = tmp_path_factory.mktemp("trained")
    data = make_scenes(base / "data", 9, ignore=True)
    options = ("--max_epoch", "8", "--val_every", "4", "--adamw", "--lr", "0.005", "--class_uniform_pct", "0")
    options += ("--crop_size", "48", "--scale_min", "1", "--scale_max", "1", "--color_aug", "0", "--no-gblur")
    assert train.main(train_args(data, base, "--report", *options)) == 0
    return Run(data, base / "run")


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """What the campaigns start from: data, a run, and its weights in every kind of file. Not to be changed either."""
    from tests.campaigns.fuzz.world import build_world  # which imports this file

    return build_world(tmp_path_factory.mktemp("world"))


def shake(model: torch.nn.Module) -> torch.nn.Module:
    """Norms and enhancement filters as if they had been trained: nothing in them is 0 or 1 any more."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.3, 0.3)
            elif hasattr(module, "smoothing"):
                module.weight.add_(0.01 * torch.randn_like(module.weight))
    return model


# what a snapshot says of three classes
THREE_CLASSES = {"dataset": "folder", "names": ["a", "b", "c"], "palette": [[0, 0, 0], [0, 0, 1], [0, 0, 2]]}
THREE_CLASSES |= {"label_ids": [0, 1, 2], "id_to_train": {}}


def untrained(arch: str, num_classes: int, **options) -> torch.nn.Module:
    """A shaken model in evaluation mode, with a bias that lets each of its classes occur."""
    torch.manual_seed(0)
    model = shake(network.build_model(arch, num_classes, **options)).eval()
    with torch.no_grad():
        model.head[-1].bias -= model(torch.randn(1, 3, 128, 128))["logits"].mean(dim=(0, 2, 3))
    return model


def save_untrained(path: Path, arch: str, classes: ClassTable, dataset: str, **options) -> torch.nn.Module:
    """Write a snapshot of an `untrained` model and return the model."""
    model = untrained(arch, classes.num_classes, **options)
    snapshot = {"model": model.state_dict(), "average": None, "config": model.config}
    save_snapshot(path, {**snapshot, "classes": classes.to_dict(dataset)})
    return model


@pytest.fixture
def small_roofline(monkeypatch):
    """Rates of this machine from sizes so small that they mean nothing."""
    for name, value in {"CONVOLVED": (16, 8, 16), "MULTIPLIED": 32, "COPIED": 1024, "ROUNDS": 3, "WARMUP": 1}.items():
        monkeypatch.setattr(roofline, name, value)
