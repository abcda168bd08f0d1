"""`--teacher`: what a trained model says of the training images, computed once and kept in a file."""

from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from datasets.base import Split
from datasets.cache import cache_key
from datasets.teacher_maps import PREFIX, SUFFIX, TeacherMaps, write_teacher_maps
from engine.checkpoint.archive import check_file
from engine.checkpoint.finetune import snapshot_config
from engine.checkpoint.loading import load_model
from engine.inference.precision import settle_precision
from network.fusing import fuse_for_inference
from transforms import build_eval_transform
from utils.distributed import Process, on_first_of_node
from utils.errors import CheckpointError
from utils.files import file_sha256
from utils.logging import get_logger
from utils.resizing import coarse_size, resize


def open_teacher(path: str, split: Split, process: Process, folder: Path, amp: str = "auto") -> TeacherMaps:
    """The maps of a teacher for all images of a split, whole and in their own size.

    One process of each node makes them.

    Args:
        path: A snapshot of any model, trained on the classes of `split`.
        split: What is trained on.
        process: This process.
        folder: Keeps the file, whose name holds a hash of the teacher and of the images, and the precision.
        amp: Precision that the teacher predicts in, one of `CHOICES`.

    Raises:
        CheckpointError: The teacher isn't there, is no snapshot, or of other classes.
        EnvironmentFault: The disk is full.
    """
    check_file(Path(path), "--teacher")
    config = snapshot_config(path)
    if config is None:
        raise CheckpointError(f"--teacher {path}: holds bare weights; give a snapshot")
    choice = settle_precision(amp, "inference", process.device, config["arch"])
    names = (file_sha256(path)[:16], choice.amp, split.dataset, split.split, cache_key(split)[:16])
    file = folder / f"{PREFIX}{'_'.join(names)}{SUFFIX}"
    sizes = [split.image_size(index) for index in range(len(split))]
    classes = split.classes.num_classes

    def make() -> None:
        if _is_complete(file, classes, sizes):
            get_logger().info(f"--teacher: maps are in {file}")
            return
        model, _, _ = load_model(path, classes=split.classes.names)
        get_logger().info(f"--teacher: {path} predicts {len(split)} images, in {choice}; kept in {file}")
        model = fuse_for_inference(model).to(process.device)
        write_teacher_maps(file, classes, sizes, partial(_predict, model, split, process.device, choice.dtype))

    on_first_of_node(make)
    return TeacherMaps(file, classes, sizes)


def _is_complete(file: Path, classes: int, sizes: list[tuple[int, int]]) -> bool:
    try:
        TeacherMaps(file, classes, sizes)
    except (OSError, ValueError):
        return False
    return True


@torch.inference_mode()
def _predict(model: nn.Module, split: Split, device: torch.device, dtype: torch.dtype | None, index: int) -> np.ndarray:
    """Logits float16 (C,H/4,W/4) of an image."""
    transform = build_eval_transform(model.encoder.mean, model.encoder.std)
    image = transform({"image": split.load_image(index)}, np.random.default_rng(0))["image"][None].to(device)
    with torch.autocast(device.type, dtype, enabled=dtype is not None):
        logits = model(image)["logits"]
    return resize(logits.float(), coarse_size(image.shape[-2:]))[0].half().cpu().numpy()
