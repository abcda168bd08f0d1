"""--teacher: maps are made once, move as the pixels do, and pull the model towards the teacher."""

import os
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import train
from config import parse_train
from datasets.synthetic.split import SyntheticSplit
from datasets.teacher_maps import TeacherMaps, write_teacher_maps
from engine.checkpoint.loading import load_model
from engine.checkpoint.snapshot import load_snapshot
from engine.inference.small_weights import SMALL_WEIGHTS
from engine.training import teacher
from engine.training.teacher import open_teacher
from loss import LossOptions, build_loss
from loss.distillation import DistillationLoss
from tests.conftest import train_args
from transforms.mixing import BatchMixing
from transforms.parameters import AugmentParams
from transforms.pipelines import TrainTransform
from utils.distributed import Process
from utils.errors import CheckpointError, EnvironmentFault, OptionError
from utils.resizing import at_places, coarse_size, resize

CPU = torch.device("cpu")


def test_maps_come_back_and_a_damaged_file_is_refused(tmp_path):
    sizes, path = [(9, 16), (8, 8)], tmp_path / "maps.npy"
    maps = [np.random.default_rng(i).normal(size=(3, *coarse_size(size))) for i, size in enumerate(sizes)]
    write_teacher_maps(path, 3, sizes, maps.__getitem__)
    found = TeacherMaps(path, 3, sizes)
    assert [found.load(i).shape for i in range(2)] == [(3, 3, 4), (3, 2, 2)]
    assert all(np.array_equal(found.load(i), maps[i].astype(np.float16)) for i in range(2))
    with pytest.raises(ValueError, match="isn't a file of these maps"):
        TeacherMaps(path, 4, sizes)
    assert [file.name for file in tmp_path.iterdir()] == ["maps.npy"]


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("scaled", [(40, 60), (72, 108), (20, 30)])
def test_a_map_moves_as_the_image_does(scaled, flip):
    """A map of where each pixel is says, after the move, where the crop's pixels were."""
    size, crop = (40, 60), (32, 32)
    rows, columns = torch.meshgrid(torch.arange(40.0), torch.arange(60.0), indexing="ij")
    places = resize(torch.stack([rows, columns])[None], coarse_size(size))[0].numpy()
    corner = tuple(3 if length > side else -((side - length) // 2) for length, side in zip(scaled, crop, strict=True))
    augmentation = AugmentParams(size, scaled, crop, corner, flip)
    image = np.stack([rows.numpy(), columns.numpy(), 0 * rows.numpy()], -1).astype(np.uint8)
    sample = {"image": image, "label": np.zeros(size, np.uint8), "teacher": places.astype(np.float16)}
    moved = TrainTransform(_Fixed(augmentation), (0, 0, 0), (1 / 255,) * 3)(sample, np.random.default_rng(0))
    assert moved["teacher"].dtype == torch.float16 and moved["teacher"].shape == (2, 8, 8)
    seen = resize(moved["teacher"].float()[None], crop)[0]
    inside = moved["label"] == 0
    off = (seen - moved["image"][:2]).abs()[:, inside]
    step = max(1, size[0] / scaled[0])  # pixels of the image, which are whole numbers scaled by another filter
    assert off.max() < step and off.mean() < 0.35 * step


class _Fixed:
    def __init__(self, augmentation):
        self.augmentation = augmentation

    def sample(self, *_):
        return self.augmentation


def test_the_divergence_is_that_of_pytorch_where_labels_count():
    torch.manual_seed(0)
    logits, maps = torch.randn(2, 3, 4, 4, requires_grad=True), torch.randn(2, 3, 8, 8).half()
    labels = torch.zeros(2, 32, 32, dtype=torch.long)
    labels[:, 16:] = 255
    found = DistillationLoss()(logits, maps, labels)
    p, q = maps.float().softmax(1), resize(logits, (8, 8)).log_softmax(1)
    wanted = F.kl_div(q, p, reduction="none").sum(1)[at_places(labels, (8, 8)) == 0].mean()
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5) and found.item() > 0
    found.backward()
    assert logits.grad.abs().sum() > 0
    same = DistillationLoss()(maps.float(), maps, labels)
    assert same.item() == pytest.approx(0, abs=1e-6)
    assert DistillationLoss()(logits, maps, torch.full_like(labels, 255)).item() == 0


def test_it_is_a_term_only_where_it_was_asked_for():
    outputs = {"logits": torch.randn(1, 3, 4, 4), "teacher": torch.randn(1, 3, 4, 4)}
    labels = torch.zeros(1, 16, 16, dtype=torch.long)
    terms = build_loss(LossOptions(teacher="a.pth", teacher_weight=2.0), 3)(outputs, labels)
    assert list(terms) == ["main", "teacher", "total"]
    assert terms["teacher"].item() == pytest.approx(2 * DistillationLoss()(*outputs.values(), labels).item())
    assert "teacher" not in build_loss(LossOptions(), 3)(outputs, labels)


def test_mixing_takes_the_maps_along():
    label = torch.randint(0, 5, (3, 32, 48))
    batch = {"image": label[:, None].float().expand(-1, 3, -1, -1), "label": label}
    batch["teacher"] = at_places(label, (8, 12))[:, None].half()
    for cutmix, classmix in ((1, 0), (0, 1)):
        mixed = BatchMixing(CPU, cutmix, classmix)(batch)
        assert torch.equal(mixed["teacher"][:, 0].long(), at_places(mixed["label"], (8, 12)))


def test_maps_are_the_models_and_made_once(tmp_path, monkeypatch):
    split, process = SyntheticSplit("train", 0, 2, 32, 64), Process(0, 1, CPU)
    maps = open_teacher(str(SMALL_WEIGHTS), split, process, tmp_path)
    assert [maps.load(i).shape for i in range(2)] == [(split.classes.num_classes, 8, 16)] * 2
    model, *_ = load_model(SMALL_WEIGHTS)
    image = TrainTransform(_Fixed(AugmentParams((32, 64), (32, 64), (32, 64), (0, 0))))(
        {"image": split.load_image(1), "label": split.load_label(1)}, np.random.default_rng(0)
    )["image"]
    with torch.inference_mode():
        logits = model(image[None])["logits"][0].numpy()
    assert np.abs(logits - maps.load(1)).max() < 0.05 * np.abs(logits).max()  # bf16 on some CPUs
    monkeypatch.setattr(teacher, "load_model", None)  # isn't needed any more
    assert np.array_equal(open_teacher(str(SMALL_WEIGHTS), split, process, tmp_path).load(1), maps.load(1))


def test_maps_are_of_a_precision_and_a_killed_run_leaves_none(tmp_path, monkeypatch):
    split, process = SyntheticSplit("train", 0, 2, 32, 64), Process(0, 1, CPU)
    leftover, written = (tmp_path / f".teacher_0.npy.{name}.tmp" for name in "ab")
    for path in (leftover, written):
        path.write_bytes(b"x")
    os.utime(leftover, (0, 0))
    paths = {amp: open_teacher(str(SMALL_WEIGHTS), split, process, tmp_path, amp).path for amp in ("off", "bf16")}
    assert len(set(paths.values())) == 2
    assert {str(path) for path in tmp_path.iterdir()} == {*paths.values(), str(written)}
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(EnvironmentFault, match="--teacher: .* of disk space are free; make room"):
        open_teacher(str(SMALL_WEIGHTS), SyntheticSplit("train", 0, 3, 32, 64), process, tmp_path)


@pytest.mark.slow
def test_a_run_learns_from_it_and_resumes_exactly(scenes, trained, tmp_path):
    moved = shutil.copy(trained.best, tmp_path / "moved.pth")
    more = ["--cutmix", "0.5", "--num_workers", "0"]
    assert train.main(train_args(scenes, tmp_path / "a", "--teacher", str(trained.best), *more)) == 0
    assert (
        train.main(train_args(scenes, tmp_path / "b", "--teacher", str(trained.best), *more, "--max_steps", "3")) == 0
    )
    assert train.main(train_args(scenes, tmp_path / "b", "--teacher", str(moved), *more)) == 0
    assert train.main(train_args(scenes, tmp_path / "c", *more)) == 0
    whole, resumed, alone = (load_snapshot(tmp_path / name / "run" / "last.pth")["model"] for name in "abc")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert not all(torch.equal(whole[name], alone[name]) for name in whole)
    assert len(list((tmp_path / "b" / "cache").glob("teacher_*.npy"))) == 1
    assert train.main(train_args(scenes, tmp_path / "b", "--teacher", str(trained.last), *more)) == 2  # another one


def test_teachers_that_cannot_be_used(tmp_path):
    with pytest.raises(OptionError, match="--teacher.*--augment cpu"):
        parse_train(["--teacher", "a.pth", "--augment", "device"])
    with pytest.raises(OptionError, match="--teacher_weight 0: .*leave --teacher out"):
        parse_train(["--teacher", "a.pth", "--teacher_weight", "0"])
    with pytest.raises(OptionError, match="--teacher_weight -1"):
        parse_train(["--teacher_weight", "-1"])
    missing = tmp_path / "no.pth"
    bare = tmp_path / "bare.pth"
    torch.save(load_model(SMALL_WEIGHTS)[0].state_dict(), bare)
    with pytest.raises(CheckpointError, match="--teacher .*bare weights; give a snapshot"):
        open_teacher(str(bare), SyntheticSplit("train", 0, 1, 32, 64), Process(0, 1, CPU), tmp_path)
    with pytest.raises(CheckpointError, match=r"no\.pth: no such file; check --teacher"):
        open_teacher(str(missing), SyntheticSplit("train", 0, 1, 32, 64), Process(0, 1, CPU), tmp_path)
