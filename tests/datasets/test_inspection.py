"""What is read of a sample's files, and which samples are chosen."""

from collections import Counter

import numpy as np
import pytest

import datasets
from datasets import camvid, cityscapes
from datasets.checks.inspection import choose_samples, inspect_image, inspect_images
from datasets.checks.label_ids import LabelIds
from datasets.checks.sizes import check_pair_sizes
from datasets.index import build_index
from datasets.part import SubsetSplit
from datasets.synthetic import split as synthetic
from tests.datasets import trees
from utils.errors import DataError


def test_images_are_decoded_and_faults_name_the_file(tmp_path):
    split = camvid.build_split(trees.make_camvid(tmp_path), "train")
    path = tmp_path / "train" / "seq0_000.png"
    good = path.read_bytes()
    facts = inspect_image(split, 0)
    assert facts.image == str(path) and len(facts.content) == 64 and not facts.fault
    for content in (good[: len(good) // 2], b"", b"GIF89a"):
        path.write_bytes(content)
        facts = inspect_image(split, 0)
        assert facts.fault.startswith(str(path)) and facts.content is None


def test_a_split_that_is_no_files():
    split = synthetic.SyntheticSplit("train", count=2, height=32, width=64)
    facts = inspect_image(split, 1)
    assert facts.image == "synthetic_train_0001" and len(facts.content) == 64 and not facts.fault
    ids = LabelIds(split, build_index(split))
    label = np.stack([split.load_label(i) for i in range(2)])
    assert ids.class_pixels().tolist() == [(label == train_id).sum() for train_id in range(19)]
    assert not list(check_pair_sizes(split, build_index(split))) and len(ids) == 2


def test_the_choice_is_spread_over_folders_and_repeatable(tmp_path):
    split = cityscapes.build_split(trees.make_cityscapes(tmp_path, {"train": list("abcd"), "val": ["v"]}, 5), "train")
    chosen = choose_samples(split, 8, seed=1)
    assert Counter(split.items[index].image.parent.name for index in chosen) == dict.fromkeys("abcd", 2)
    assert chosen == choose_samples(split, 8, seed=1) != choose_samples(split, 8, seed=2)
    assert sorted(choose_samples(split, 99, seed=0)) == list(range(20))


def test_reading_stops_in_time(tmp_path):
    split = camvid.build_split(trees.make_camvid(tmp_path), "train")
    jobs = [(split, index) for index in range(3)]
    assert [facts.index for facts in inspect_images(jobs)] == [0, 1, 2]
    assert inspect_images(jobs, seconds=-1) == [None] * 3


def test_damaged_pairs_are_left_out_on_request_only(tmp_path):
    trees.make_camvid(tmp_path)
    (tmp_path / "trainannot" / "seq0_001.png").unlink()
    trees.save(tmp_path / "trainannot" / "alone.png", trees.gray(1))
    faults = []
    split = datasets.build_split("camvid", tmp_path, "train", on_unpaired=faults.append)
    assert split.names == ["seq0_000", "seq0_002"]
    assert len(faults) == 2 and "seq0_001" in str(faults[0]) and "alone" in str(faults[1])
    with pytest.raises(DataError, match="seq0_001"):
        camvid.build_split(tmp_path, "train")


def test_a_part_of_a_split(tmp_path):
    whole = camvid.build_split(trees.make_camvid(tmp_path), "train")
    part = SubsetSplit(whole, [2, 0, 2])
    assert part.names == ["seq0_002", "seq0_000", "seq0_002"] and len(part) == 3 and part.has_labels
    assert (part.load_label(0) == 2).all() and (part.load_image(1) == 0).all()
    assert part.describe(0) == whole.describe(2)
    assert len({split.fingerprint() for split in (whole, part, SubsetSplit(whole, [0, 2]))}) == 3
    assert len({SubsetSplit(synthetic.build_split(None, "val"), [i]).fingerprint() for i in range(2)}) == 2
