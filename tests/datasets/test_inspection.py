"""What is read of a sample's files, and which samples are chosen."""

from collections import Counter

import numpy as np
import pytest

import datasets
from datasets import camvid, cityscapes
from datasets.checks.inspection import choose_samples, inspect_sample, inspect_samples
from datasets.part import SubsetSplit
from datasets.synthetic import split as synthetic
from tests.datasets import trees
from utils.errors import DataError


def inspect(root, index=0):
    return inspect_sample(camvid.build_split(root, "train"), index)


def kinds(facts):
    return [fault.kind for fault in facts.faults]


def test_a_healthy_sample(tmp_path):
    facts = inspect(trees.make_camvid(tmp_path), 2)
    assert facts.size == (4, 6) and facts.mode == "RGB" and facts.label_mode == "L" and not facts.faults
    assert facts.ids[2] == 24 and facts.ids.sum() == 24 and len(facts.content) == 64


def test_each_fault_names_its_file(tmp_path):
    trees.make_camvid(tmp_path)
    image, label = tmp_path / "train" / "seq0_000.png", tmp_path / "trainannot" / "seq0_000.png"
    good_image, good_label = image.read_bytes(), label.read_bytes()
    for content in (good_image[: len(good_image) // 2], b""):
        image.write_bytes(content)
        facts = inspect(tmp_path)
        assert kinds(facts) == ["image"] and str(image) in facts.faults[0].text and facts.content is None
    image.write_bytes(good_image)
    for array, kind, word in [
        (trees.gray(99), "ids", "id 99 (24 pixels)"),
        (trees.rgb(1) * np.array([1, 2, 3], np.uint8), "label", "1, 2, 3"),
        (np.full((4, 6), 999, np.uint16), "label", "999"),
        (trees.gray(0, 8, 6), "size", "6x8"),
    ]:
        trees.save(label, array)
        facts = inspect(tmp_path)
        assert kinds(facts) == [kind] and word in facts.faults[0].text and str(label) in facts.faults[0].text
        assert facts.faults[0].file == str(label)
    label.write_bytes(good_label[: len(good_label) // 2])
    image.write_bytes(b"GIF89a")
    assert kinds(inspect(tmp_path)) == ["image", "label"]


def test_a_split_that_is_no_files():
    split = synthetic.SyntheticSplit("train", count=2, height=32, width=64)
    facts = inspect_sample(split, 1)
    label = split.load_label(1)
    assert facts.image == "synthetic_train_0001" and facts.size == (32, 64) and not facts.faults
    for train_id, label_id in enumerate(cityscapes.CLASSES.label_ids):
        assert facts.ids[label_id] == (label == train_id).sum()


def test_the_choice_is_spread_over_folders_and_repeatable(tmp_path):
    split = cityscapes.build_split(trees.make_cityscapes(tmp_path, {"train": list("abcd"), "val": ["v"]}, 5), "train")
    chosen = choose_samples(split, 8, seed=1)
    assert Counter(split.items[index].image.parent.name for index in chosen) == dict.fromkeys("abcd", 2)
    assert chosen == choose_samples(split, 8, seed=1) != choose_samples(split, 8, seed=2)
    assert sorted(choose_samples(split, 99, seed=0)) == list(range(20))


def test_reading_stops_in_time(tmp_path):
    split = camvid.build_split(trees.make_camvid(tmp_path), "train")
    jobs = [(split, index) for index in range(3)]
    assert [facts.index for facts in inspect_samples(jobs)] == [0, 1, 2]
    assert inspect_samples(jobs, seconds=-1) == [None] * 3


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
