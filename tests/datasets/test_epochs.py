"""What a run's epochs draw: audited, and shared out over the processes."""

import json
from collections import Counter

import numpy as np
import pytest
import torch

from datasets.dataset import TrainingDataset
from datasets.epochs import TrainingEpochs, open_centroids
from datasets.folder import build_split
from datasets.index import build_index
from datasets.options import DataOptions
from tests.conftest import make_scenes
from transforms import AugmentOptions, RandomAugment, TrainTransform, build_train_transform
from utils.distributed import Process

TRANSFORM = TrainTransform(RandomAugment(AugmentOptions(crop_size=16)))


def build_epochs(data, out, rank=0, world_size=1, audit_path=None, pct=0.5, accumulate=1):
    options = DataOptions(class_uniform_pct=pct, class_uniform_tile=16, max_cu_epoch=1, num_workers=0)
    dataset = TrainingDataset(build_split(data, "train"), TRANSFORM, seed=3)
    process = Process(rank, world_size, torch.device("cpu"))
    centroids = open_centroids(dataset.split, build_index(dataset.split), options, out)
    return TrainingEpochs(dataset, process, options, 2, centroids, accumulate=accumulate, audit_path=audit_path)


def test_two_processes_partition_the_epoch(tmp_path, monkeypatch, caplog):
    data, path, received, told, loaded = make_scenes(tmp_path / "data", 13), tmp_path / "audit.jsonl", [], [], []
    # the second process gets the first one's centroids, and looks for none
    monkeypatch.setattr("datasets.epochs.from_first_rank", lambda make: received or received.extend(make()) or received)
    for rank in (0, 1):
        epochs = build_epochs(data, tmp_path / f"cache{rank}", rank, 2, path)
        with caplog.at_level("INFO", "fenet"):
            loader = epochs(0, 0)
        told.append([draw.index for batch in loader.batch_sampler for draw in batch])
        loaded += [name for batch in loader for name in batch["name"]]
    assert [len(indices) for indices in told] == [6, 6]
    assert sorted(sum(told, [])) == list(range(12))  # 13 samples: the last fills no batch
    assert Counter(loaded) == Counter(epochs.dataset.split.names[draw.image] for draw in epochs.plan(0))
    assert caplog.text.count("epoch 0: ") == len(path.read_text().splitlines()) == 1  # rank 0 alone speaks and writes
    assert not (tmp_path / "cache1").exists()


def test_the_audit_counts_what_is_drawn(tmp_path):
    epochs = build_epochs(make_scenes(tmp_path / "data", 21), tmp_path)
    audit = epochs.audit(0)
    draws = epochs.plan(0)
    assert audit["crops"] == 20 and sum(audit["class_crops"].values()) == sum(d.class_id is not None for d in draws)
    assert sum(audit["class_crops_wanted"].values()) == pytest.approx(10)
    assert set(audit["class_crops_wanted"].values()) == {2.5}
    assert audit["images_drawn"] == len({draw.image for draw in draws}) / 21 == audit["images_drawn_so_far"]
    later = epochs.audit(2)  # max_cu_epoch is 1
    assert set(later["class_crops_wanted"].values()) == set(later["class_crops"].values()) == {0}
    drawn = {draw.image for epoch in range(3) for draw in epochs.plan(epoch)}
    assert later["images_drawn_so_far"] == len(drawn) / 21
    assert epochs.audit(0) == audit


def test_batches_that_fill_no_step_are_neither_loaded_nor_counted(tmp_path):
    epochs = build_epochs(make_scenes(tmp_path / "data", 21), tmp_path, accumulate=4)
    assert epochs.batches == len(list(epochs(0, 0))) == 8 and epochs.audit(0)["crops"] == 16


@pytest.mark.parametrize("augment", ["cpu", "device"])
def test_later_epochs_are_of_whole_images(tmp_path, augment):
    data = build_split(make_scenes(tmp_path / "data", 5), "train")
    options = AugmentOptions(crop_size=16, max_crop_epoch=0, augment=augment, color_aug=0, gblur=False, mirror=False)
    transform, on_device = build_train_transform(options, torch.device("cpu"))
    dataset = TrainingDataset(data, transform, seed=3)
    one = DataOptions(class_uniform_pct=0, num_workers=0)
    epochs = TrainingEpochs(dataset, Process(0, 1, torch.device("cpu")), one, 2)
    for epoch, size in enumerate([(16, 16), data.load_label(0).shape]):
        for batch in epochs(epoch, 0):
            batch = on_device(batch) if on_device else batch
            assert batch["image"].shape == (2, 3, *size) and batch["label"].shape == (2, *size)
    for name, label in zip(batch["name"], batch["label"], strict=True):
        assert np.array_equal(label, data.load_label(data.names.index(name)))


def test_an_absent_class_is_wanted_by_nobody(tmp_path):
    data = make_scenes(tmp_path / "data", 6)
    listed = json.loads((data / "classes.json").read_text())
    listed["classes"].append({"name": "unicorn", "id": 9})
    (data / "classes.json").write_text(json.dumps(listed))
    audit = build_epochs(data, tmp_path).audit(0)
    assert audit["class_crops_wanted"] == {"sky": 0.75, "road": 0.75, "car": 0.75, "tree": 0.75, "unicorn": 0}
    assert audit["class_crops"]["unicorn"] == 0


def test_lines_of_an_earlier_run_are_replaced(tmp_path):
    path = tmp_path / "sampling.jsonl"
    epochs = build_epochs(make_scenes(tmp_path / "data", 8), tmp_path, audit_path=path)
    for epoch in (0, 1, 2, 1):  # the last: a run that went on from the end of epoch 0
        epochs(epoch, 0)
    epochs(2, 1)  # in the middle of an epoch: it was reported at its start
    assert [json.loads(line)["epoch"] for line in path.read_text().splitlines()] == [0, 1]
    path.write_text(path.read_text() + '{"epo')
    epochs(2, 0)
    assert [json.loads(line) for line in path.read_text().splitlines()] == [epochs.audit(e) for e in range(3)]


def test_without_class_uniform_sampling_every_image_comes_once(tmp_path):
    epochs = build_epochs(make_scenes(tmp_path / "data", 8), tmp_path, pct=0.0)
    audit = epochs.audit(0)
    assert audit["images_drawn"] == 1 and not np.any(list(audit["class_crops"].values()))
