"""Shared pieces: one thread per test process, small folders of labelled images, runs of the entry points."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import network
from datasets.base import ClassTable
from engine.checkpoint.snapshot import save_snapshot

ROOT = Path(__file__).parents[1]
CLASSES = [{"name": name, "id": i} for i, name in enumerate(("sky", "road", "car", "tree"))]


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


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
        *("--num_workers", "0", "--log_every", "1", "--lr", "0.01", "--device", "cpu", *more),
    ]


def launch(command: list[str], processes: int = 1, timeout: float = 300) -> subprocess.CompletedProcess:
    """Run an entry point in a process of its own (or several under torchrun), one thread each."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    head = [sys.executable]
    if processes > 1:
        head += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    return subprocess.run([*head, *command], cwd=ROOT, env=env, capture_output=True, text=True, timeout=timeout)


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
