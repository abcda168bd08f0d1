"""What a run's epochs draw: audited, and shared out over the processes."""

import json
from collections import Counter

import numpy as np
import pytest
import torch

from datasets.dataset import TrainingDataset
from datasets.epochs import TrainingEpochs
from datasets.folder import build_split
from tests.conftest import launch, make_scenes
from utils.distributed import Process

# one process of a run: leaves what its loader was told to draw, and what it drew
RANK = """
import json, sys
from pathlib import Path
from datasets.dataset import TrainingDataset
from datasets.epochs import TrainingEpochs
from datasets.folder import build_split
from transforms import AugmentOptions, RandomAugment, TrainTransform
from utils import distributed
from utils.logging import setup_logging

data, out = map(Path, sys.argv[1:])
with distributed.job("cpu") as process:
    setup_logging(process.is_main, out / "log.txt")
    transform = TrainTransform(RandomAugment(AugmentOptions(crop_size=16)))
    dataset = TrainingDataset(build_split(data, "train"), transform, seed=3)
    epochs = TrainingEpochs(dataset, process, batch_size=2, class_uniform_pct=0.5, class_uniform_tile=16,
                            max_cu_epoch=9, cache_folder=out, num_workers=0, audit_path=out / "sampling.jsonl")
loader = epochs(0, 0)
told = [draw.index for batch in loader.batch_sampler for draw in batch]
names = [name for batch in loader for name in batch["name"]]
(out / f"rank{process.rank}.json").write_text(json.dumps({"told": told, "names": names}))
"""


def build_epochs(data, out, **changes):
    options = {"batch_size": 2, "class_uniform_pct": 0.5, "class_uniform_tile": 16, "max_cu_epoch": 1, "num_workers": 0}
    dataset = TrainingDataset(build_split(data, "train"), lambda sample, rng: sample, seed=3)
    process = Process(0, 1, torch.device("cpu"))
    return TrainingEpochs(dataset, process, **(options | {"cache_folder": out} | changes))


def test_two_processes_partition_the_epoch(tmp_path):
    data = make_scenes(tmp_path / "data", 13)
    (tmp_path / "rank.py").write_text(RANK)
    done = launch([str(tmp_path / "rank.py"), str(data), str(tmp_path)], processes=2)
    assert done.returncode == 0, done.stderr
    ranks = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    assert [len(rank["told"]) for rank in ranks] == [6, 6]
    assert sorted(ranks[0]["told"] + ranks[1]["told"]) == list(range(12))  # 13 samples: the last fills no batch
    plan = build_epochs(data, tmp_path / "alone").plan(0)
    names = build_split(data, "train").names
    assert Counter(ranks[0]["names"] + ranks[1]["names"]) == Counter(names[draw.image] for draw in plan[:12])
    assert (tmp_path / "log.txt").read_text().count("epoch 0: ") == 1  # rank 0 alone speaks and writes
    assert len((tmp_path / "sampling.jsonl").read_text().splitlines()) == 1


def test_the_audit_counts_what_is_drawn(tmp_path):
    epochs = build_epochs(make_scenes(tmp_path / "data", 21), tmp_path)
    audit = epochs.audit(0)
    draws = epochs.plan(0)[:20]
    assert audit["crops"] == 20 and sum(audit["class_crops"].values()) == sum(d.class_id is not None for d in draws)
    assert sum(audit["class_crops_wanted"].values()) == pytest.approx(10)
    assert set(audit["class_crops_wanted"].values()) == {2.5}
    assert audit["images_drawn"] == len({draw.image for draw in draws}) / 21 == audit["images_drawn_so_far"]
    later = epochs.audit(2)  # max_cu_epoch is 1
    assert set(later["class_crops_wanted"].values()) == set(later["class_crops"].values()) == {0}
    drawn = {draw.image for epoch in range(3) for draw in epochs.plan(epoch)[:20]}
    assert later["images_drawn_so_far"] == len(drawn) / 21
    assert epochs.audit(0) == audit


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
    epochs = build_epochs(make_scenes(tmp_path / "data", 8), tmp_path, class_uniform_pct=0.0)
    audit = epochs.audit(0)
    assert audit["images_drawn"] == 1 and not np.any(list(audit["class_crops"].values()))
