"""What all targets start from: a small data set, and weight files of every kind of a small model."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch

import eval as evaluation
import train
from datasets.base import ClassTable
from engine.checkpoint.loading import load_model
from engine.checkpoint.snapshot import load_snapshot
from engine.export.safetensors import write_handout, write_release
from tests.conftest import make_scenes, train_args

FILES = ("model.safetensors", "release.pth", "legacy.pth")
CLASS_TABLE = ClassTable(("a", "b"), ((0, 0, 0), (9, 9, 9)), (0, 1), {0: 0, 1: 1, 255: 255})


@dataclass
class World:
    """Folder of the data; a run's last and best snapshot; the best as safetensors, release, legacy file; its scores;
    polygons of the training images as COCO has them; data with as many images as the recipe's step takes.
    """

    data: Path
    last: Path
    best: Path
    handout: Path
    release: Path
    legacy: Path
    scores: Path
    polygons: Path
    enough: Path

    def train_args(self, data: Path, out: Path, *more: str) -> list[str]:
        """The command line that `last` was trained with, or one that starts like it."""
        return [*train_args(data, out), "--channels", "8", "--bs_mult", "2", "--no-report", *more]


def build_world(folder: Path) -> World:
    """Make the files, with a run of one epoch."""
    data = make_scenes(folder / "data", 4, 32, 48)
    run, files = folder / "runs" / "run", folder / "files"
    world = World(
        data,
        run / "last.pth",
        run / "best.pth",
        *(files / name for name in FILES),
        folder / "scores",
        folder / "coco.json",
        make_scenes(folder / "enough", 8, 32, 48),
    )
    world.polygons.write_text(json.dumps(coco_of(data / "images" / "train")))
    argv = world.train_args(data, folder / "runs", "--max_epoch", "1", "--ema", "0.9")
    if train.main(argv) != 0:
        raise RuntimeError("the run that the campaign starts from failed")
    snapshot = load_snapshot(world.best)
    write_handout(snapshot, world.best, files)
    model, _, _ = load_model(world.best)
    write_release(model, world.release)
    torch.save(model.state_dict(), world.legacy, _use_new_zipfile_serialization=False)
    argv = ["--snapshot", world.best, "--data_root", data, "--save_dir", world.scores, "--dump_images"]
    if evaluation.main([*map(str, argv), "--device", "cpu", "--num_workers", "0"]) != 0:
        raise RuntimeError("the evaluation that the campaign starts from failed")
    return world


def coco_of(folder: Path) -> dict:
    """An object in each image of 48x32."""
    names = sorted(path.name for path in folder.iterdir())
    images = [{"id": i, "file_name": name, "width": 48, "height": 32} for i, name in enumerate(names)]
    box = {"category_id": 1, "segmentation": [[2, 2, 20, 2, 20, 15, 2, 15]]}
    annotations = [{"id": i, "image_id": i, **box} for i in range(len(names))]
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "car"}]}
