"""Samples and loaders: contract, reproducibility over workers, and faults that cross processes."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data._utils import signal_handling

from datasets import cityscapes
from datasets.base import Split
from datasets.dataset import EvaluationDataset, TrainingDataset
from datasets.loader import WORKER_TIMEOUT, build_eval_loader
from datasets.sampling.class_uniform import CropSample, extract_centroids, sample_epoch
from datasets.sampling.sampler import EpochSampler, evaluation_indices
from tests.datasets import trees
from tests.processes import Job
from transforms import AugmentOptions, RandomAugment, TrainTransform, build_eval_transform
from utils.errors import DataError, EnvironmentFault, OptionError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def split(tmp_path):
    return trees.noisy_split(tmp_path, [(20, 30)] * 8)


def train_batches(split, num_workers=0, seed=0, start=0):
    plan = sample_epoch(len(split), extract_centroids(split, 16), 0.5, seed=0, epoch=0)
    dataset = TrainingDataset(split, TrainTransform(RandomAugment(AugmentOptions(crop_size=16))), seed)
    return trees.train_loader(dataset, trees.sampler(plan, 2, start=start), num_workers)


def test_a_training_batch_keeps_the_contract(split):
    batches = list(train_batches(split))
    assert len(batches) == 4
    for batch in batches:
        assert set(batch) == {"image", "label", "name"}
        assert batch["image"].shape == (2, 3, 16, 16) and batch["image"].dtype == torch.float32
        assert batch["label"].shape == (2, 16, 16) and batch["label"].dtype == torch.uint8
        assert set(batch["label"].unique().tolist()) <= {*range(11), 255}
        assert set(batch["name"]) <= set(split.names)


def equal(first, second):
    return all(
        a["name"] == b["name"] and torch.equal(a["image"], b["image"]) and torch.equal(a["label"], b["label"])
        for a, b in zip(first, second, strict=True)
    )


def test_samples_are_the_same_with_and_without_workers_and_after_a_late_start(split):
    alone = list(train_batches(split))
    assert equal(alone, list(train_batches(split, num_workers=2)))
    assert equal(alone[3:], list(train_batches(split, num_workers=1, start=3)))
    assert not equal(alone, list(train_batches(split, seed=1)))


def test_a_sample_depends_on_seed_epoch_and_index(split):
    dataset = TrainingDataset(split, TrainTransform(RandomAugment(AugmentOptions(crop_size=16))), 0)
    base = CropSample(0, None, None, epoch=0, index=0)
    sums = {dataset[CropSample(0, None, None, epoch=e, index=i)]["image"].sum().item() for e in (0, 1) for i in (0, 1)}
    assert len(sums) == 4
    assert torch.equal(dataset[base]["image"], dataset[base]["image"])


def test_loading_leaves_the_global_random_state_alone(split):
    before = torch.get_rng_state()
    list(train_batches(split))
    assert torch.equal(torch.get_rng_state(), before)


def test_an_evaluation_batch_keeps_the_contract(split):
    dataset = EvaluationDataset(split, build_eval_transform())
    indices = evaluation_indices(8, 1, 3)
    batches = list(build_eval_loader(dataset, indices, batch_size=2))
    assert [index for batch in batches for index in batch["index"].tolist()] == indices == [1, 4, 7]
    assert [len(batch["name"]) for batch in batches] == [2, 1]
    assert batches[0]["image"].shape == (2, 3, 20, 30)
    assert torch.equal(batches[1]["label"][0], torch.from_numpy(split.load_label(7).astype(np.int64)))


def test_a_split_without_labels_evaluates_without_them_and_does_not_train(tmp_path):
    trees.make_cityscapes(tmp_path, {"test": ["berlin"]})
    split = cityscapes.build_split(tmp_path, "test")
    assert "label" not in EvaluationDataset(split, build_eval_transform())[0]
    with pytest.raises(OptionError, match="split test of data set cityscapes has no labels"):
        TrainingDataset(split, build_eval_transform(), 0)


def test_images_of_different_sizes_need_batch_size_one(split):
    trees.save(split.items[1].image, trees.rgb(0, 10, 12))
    trees.save(split.items[1].label, trees.gray(0, 10, 12))
    dataset = EvaluationDataset(split, build_eval_transform())
    assert len(list(build_eval_loader(dataset, range(8)))) == 8
    with pytest.raises(OptionError, match="12x10, 30x20.*--bs_mult_val.*--batch_size"):
        list(build_eval_loader(dataset, range(8), batch_size=2))


def test_a_label_of_another_size_names_sample_sizes_and_files(split):
    path = trees.save(split.items[3].label, trees.gray(0, 10, 12))
    with pytest.raises(DataError, match=f"sample s3 .*{path}.*label is 12x10.*image 30x20"):
        EvaluationDataset(split, build_eval_transform())[3]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_fault_in_a_worker_is_one_line_and_the_same_kind(split, num_workers):
    path = split.items[5].image
    path.write_bytes(path.read_bytes()[:100])
    loader = build_eval_loader(EvaluationDataset(split, build_eval_transform()), range(8), num_workers=num_workers)
    served = []
    with pytest.raises(DataError) as caught:
        for batch in loader:
            served += batch["name"]
    assert served == [f"s{i}" for i in range(5)]
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value) and "Traceback" not in str(caught.value)


@pytest.mark.parametrize("kind", [KeyError, RuntimeError])
def test_our_own_mistakes_keep_their_traceback(split, kind):
    def broken(sample, rng):
        raise kind("mistake")

    with pytest.raises(kind, match="Traceback"):
        list(build_eval_loader(EvaluationDataset(split, broken), range(8), num_workers=1))


class Dying:
    """A transform that kills its process."""

    def __call__(self, sample, rng):
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("noticed", ["at once", "in time"])
def test_a_worker_that_is_killed_is_a_fault_of_the_environment(split, noticed, monkeypatch):
    if noticed == "in time":  # its signal comes just before the main process waits, and wakes nobody
        monkeypatch.setattr(signal_handling, "_error_if_any_worker_fails", lambda: None)
    loader = build_eval_loader(EvaluationDataset(split, Dying()), range(8), num_workers=1)
    loader.timeout = 1 if noticed == "in time" else 20
    with pytest.raises(EnvironmentFault, match="DataLoader worker.*--num_workers"):
        list(loader)


class Hanging:
    """A transform that doesn't come back, and can't be asked to end."""

    def __call__(self, sample, rng):
        os.kill(os.getpid(), signal.SIGSTOP)


def test_a_worker_that_hangs_is_reported_in_time_and_killed(split):
    plan = sample_epoch(len(split), None, 0, seed=0, epoch=0)
    loader = trees.train_loader(TrainingDataset(split, Hanging(), 0), trees.sampler(plan, 2), 2, timeout=1)
    with pytest.raises(EnvironmentFault, match="no batch for 1 s.*--num_workers.*--worker_timeout"):
        list(loader)
    del loader
    assert not multiprocessing.active_children()


def test_an_evaluation_s_loader_names_no_option_of_train_py(split):
    loader = build_eval_loader(EvaluationDataset(split, Hanging()), range(4), num_workers=1)
    assert loader.timeout == WORKER_TIMEOUT
    loader = build_eval_loader(EvaluationDataset(split, Hanging()), range(4), num_workers=1, timeout=1)
    with pytest.raises(EnvironmentFault, match="no batch for 1 s.*--worker_timeout"):
        list(loader)


class Where:
    """A transform that says which process it runs in."""

    def __call__(self, sample, rng):
        return {"image": torch.zeros(3, 1, 1), "name": str(os.getpid())}


def test_workers_live_as_long_as_the_run_and_start_where_told(split):
    plan, sampler = sample_epoch(len(split), None, 0, seed=0, epoch=0), EpochSampler(0, 1, 2)
    loader, parts = trees.train_loader(TrainingDataset(split, Where(), 0), sampler, 1, persistent_workers=True), []
    for start in (0, 3, 0):
        sampler.set_epoch(plan, start)
        parts.append([name for batch in loader for name in batch["name"]])
    assert [len(part) for part in parts] == [8, 2, 8] and len({name for part in parts for name in part}) == 1


def test_epochs_of_one_loader_are_those_of_new_ones(split):
    plans = [sample_epoch(len(split), extract_centroids(split, 16), 0.5, seed=0, epoch=epoch) for epoch in range(2)]
    dataset = TrainingDataset(split, TrainTransform(RandomAugment(AugmentOptions(crop_size=16))), 0)
    sampler = trees.sampler(plans[0], 2)
    loader = trees.train_loader(dataset, sampler, 2, persistent_workers=True)
    iterator = iter(loader)
    next(iterator)  # an epoch that is left early
    iterator.close()
    for plan in plans:
        sampler.set_epoch(plan)
        assert equal(list(loader), list(trees.train_loader(dataset, trees.sampler(plan, 2))))


class Slow:
    """A transform that leaves time for a signal, and says which process it runs in."""

    def __call__(self, sample, rng):
        time.sleep(0.05)
        return {"image": torch.zeros(3, 1, 1), "name": str(os.getpid())}


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_signals_to_the_job_do_not_reach_the_workers(split, sent):
    # the signal comes from a third process, as a terminal's or a scheduler's does
    loader = build_eval_loader(EvaluationDataset(split, Slow()), range(8), num_workers=1)
    names = []
    for batch in loader:
        names += batch["name"]
        if len(names) == 1:
            subprocess.run(["kill", f"-{int(sent)}", names[0]], check=True)
    assert len(names) == 8 and len(set(names)) == 1


class Names(Split):
    """Samples without pixels."""

    dataset, split, has_labels, names = "d", "s", False, ["n"] * 1000

    def load_image(self, index):
        return None


def load(wait: bool) -> None:
    """Prints the process of a worker, and ends or loads on."""
    batches = iter(build_eval_loader(EvaluationDataset(Names(), Slow()), range(1000), num_workers=2))
    print(next(batches)["name"][0], flush=True)
    while wait:
        next(batches)


def test_workers_end_with_the_main_process():
    program = "from tests.datasets.test_dataset import load; load(False)"  # Python's own exit, so no fork
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, timeout=60, check=True)
    with Job([load, True]) as job:
        killed = next(job.follow())
    deadline = time.monotonic() + 15
    while alive := [number for number in map(int, (done.stdout, killed)) if Path(f"/proc/{number}").exists()]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.05)
