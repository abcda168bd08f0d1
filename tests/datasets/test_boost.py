"""Coarse labels of Cityscapes: a split of their own, and classes that are topped up from them."""

from collections import Counter

import numpy as np
import pytest
import torch

import datasets
from datasets import cityscapes
from datasets.dataset import TrainingDataset
from datasets.epochs import TrainingEpochs, open_centroids
from datasets.index import open_index
from datasets.options import DataOptions
from tests.datasets import trees
from transforms import build_eval_transform
from utils.distributed import Process
from utils.errors import DataError, OptionError

ROAD, CAR = 0, 13


@pytest.fixture(params=[False, True], ids=["flat", "archives"])
def root(request, tmp_path):
    """Fine labels: road, and a car in the first image; coarse ones: cars, and road in the first image."""
    trees.make_cityscapes(tmp_path, trees.CITIES, frames=4, nested=request.param)
    trees.make_coarse(tmp_path, ["bamberg", "erlangen"], frames=3, nested=request.param)
    label = trees.gray(7)
    label[:2] = 26
    for split in ("train", "train_extra"):
        trees.save(cityscapes.build_split(tmp_path, split).items[0].label, label)
    return tmp_path


def boosted(root, *classes):
    return datasets.add_coarse("cityscapes", root, datasets.build_split("cityscapes", root, "train"), classes)


def plans(split, folder, epochs=6, share=0.5):
    options = DataOptions(class_uniform_pct=share, class_uniform_tile=64, num_workers=0)
    training = TrainingEpochs(
        TrainingDataset(split, build_eval_transform(), seed=3),
        Process(0, 1, torch.device("cpu")),
        options,
        batch_size=2,
        centroids=open_centroids(split, open_index(split, folder), options, folder),
    )
    return [training.plan(epoch) for epoch in range(epochs)]


def test_train_extra_is_a_split_with_coarse_labels(root):
    split = datasets.build_split("cityscapes", root, "train_extra")
    assert split.names == [f"{city}_000000_{i:06d}" for city in ("bamberg", "erlangen") for i in range(3)]
    assert all(item.label.name.endswith("_gtCoarse_labelIds.png") for item in split.items)
    assert np.unique(split.load_label(1)).tolist() == [CAR, 255]
    assert datasets.build_split("cityscapes", root, "train_extra", cv=1).names == split.names


def test_only_boosted_classes_are_drawn_from_coarse_images(root, tmp_path):
    fine = len(datasets.build_split("cityscapes", root, "train"))
    drawn = Counter()
    for plan in plans(boosted(root, CAR), tmp_path / "cache"):
        assert len(plan) == fine == 8  # an epoch is as long as without the boost
        drawn.update((draw.class_id, draw.image >= fine) for draw in plan)
    assert drawn[CAR, True] and drawn[CAR, False] and drawn[ROAD, False] and drawn[None, False]
    assert not drawn[ROAD, True] and not drawn[None, True]
    assert drawn[CAR, True] + drawn[CAR, False] == drawn[ROAD, False]


def test_another_choice_of_classes_uses_the_same_centroids(root, tmp_path):
    cache = tmp_path / "cache"
    plans(boosted(root, CAR), cache)
    drawn = [draw for plan in plans(boosted(root, ROAD, CAR), cache, epochs=40) for draw in plan]
    assert {draw.class_id for draw in drawn if draw.image >= 8} == {ROAD, CAR}
    assert sorted(path.name.split("_")[0] for path in cache.iterdir()) == ["centroids", "index", "index"]


def test_a_draw_from_a_coarse_image_loads_it(root):
    split = boosted(root, CAR)
    sample = TrainingDataset(split, lambda sample, rng: sample, seed=0)[plans(split, root / "cache")[0][0]]
    assert sample["image"].shape[:2] == sample["label"].shape
    fine, coarse = split.fine, split.coarse
    assert split.names[8:] == coarse.names and split.load_label(9).tolist() == coarse.load_label(1).tolist()
    assert split.load_image(9).tolist() == coarse.load_image(1).tolist() != fine.load_image(0).tolist()
    assert split.files(7) == fine.files(7) and split.files(8) == coarse.files(0)
    assert split.describe(7) == fine.describe(7) and split.describe(8) == coarse.describe(0)
    assert split.fingerprint() not in (fine.fingerprint(), coarse.fingerprint())


@pytest.mark.parametrize("class_id", [-1, 19])
def test_an_id_that_is_no_train_id_names_flag_and_range(class_id, root):
    with pytest.raises(OptionError, match=f"--coarse_boost_classes {class_id}.*cityscapes are 0 to 18"):
        boosted(root, 3, class_id)


def test_coarse_on_coarse_is_refused(root):
    split = datasets.build_split("cityscapes", root, "train_extra")
    with pytest.raises(OptionError, match="--train_split train_extra"):
        datasets.add_coarse("cityscapes", root, split, [CAR])


@pytest.mark.parametrize("name", ["camvid", "folder", "synthetic", "bdd100k"])
def test_a_data_set_without_coarse_labels_is_an_option_error(name):
    split = datasets.build_split("synthetic", "", "train")
    with pytest.raises(OptionError, match=f"--coarse_boost_classes: data set {name} has no coarse labels.*cityscapes"):
        datasets.add_coarse(name, "", split, [3])


@pytest.mark.parametrize("gone", ["leftImg8bit/train_extra", "gtCoarse/train_extra"])
def test_missing_coarse_data_name_the_folder(gone, tmp_path):
    trees.make_cityscapes(tmp_path, trees.CITIES)
    trees.make_coarse(tmp_path, ["bamberg"])
    (tmp_path / gone).rename(tmp_path / "away")
    with pytest.raises(DataError, match=f"{tmp_path / gone}: no such folder.*gtCoarse.*--data_root"):
        boosted(tmp_path, CAR)
