import json
import shutil

import numpy as np
import pytest
import torch

from datasets import build_split
from datasets.index import build_index
from datasets.synthetic.split import SyntheticSplit
from engine.training.fingerprint import compare_fingerprints, take_fingerprint
from tests.conftest import CLASSES, make_scenes


def taken(split):
    return take_fingerprint(split, build_index(split))


def fingerprint(*rows: tuple[int, int], digest: str = "", dataset: str = "folder") -> dict:
    """Of samples (name, content); the digest is that of any order."""
    keys = torch.tensor(rows, dtype=torch.int64).reshape(-1, 2)
    return {"dataset": dataset, "split": "train", "digest": digest or str(sorted(rows)), "keys": keys}


BEFORE = fingerprint((5, 50), (2**62, -(2**62)), (7, 70), (8, 80))


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (fingerprint((5, 50), (7, 70), (8, 80)), "4 images -> 3: 1 removed, 0 added, 0 rewritten"),
        (fingerprint((5, 50), (2**62, 1), (7, 70), (9, 90)), "4 images -> 4: 1 removed, 1 added, 1 rewritten"),
        (fingerprint((1, 50), (2, -(2**62)), (3, 70)), "4 images -> 3: 1 removed, 0 added, 0 rewritten, 3 renamed"),
        (fingerprint((7, 70), (5, 50), (2**62, -(2**62)), (8, 80)), "4 images -> 4: the same in another order"),
        (BEFORE | {"digest": "other"}, "4 images -> 4: the same, with another class table"),
    ],
)
def test_what_changed(now, words):
    change = compare_fingerprints(BEFORE, now)
    assert str(change) == words and not change.is_other


def test_another_data_set():
    assert compare_fingerprints(BEFORE, fingerprint((1, 10), (2, 20))).is_other
    assert compare_fingerprints(BEFORE, fingerprint((5, 50), dataset="kitti")).is_other
    assert not compare_fingerprints(BEFORE, fingerprint((5, 51), (7, 71))).is_other
    assert compare_fingerprints(BEFORE, BEFORE) is None


def test_of_files_wherever_they_lie(tmp_path):
    data = make_scenes(tmp_path / "a", 3)
    first = taken(build_split("folder", data, "train"))
    moved = shutil.copytree(data, tmp_path / "b", copy_function=shutil.copyfile)
    assert compare_fingerprints(first, taken(build_split("folder", moved, "train"))) is None
    assert first["keys"].dtype == torch.int64 and len(np.unique(first["keys"].numpy())) == 6
    classes = [row | {"id": 3 - row["id"]} for row in CLASSES]
    (moved / "classes.json").write_text(json.dumps({"classes": classes, "ignore": [255]}))
    change = compare_fingerprints(first, taken(build_split("folder", moved, "train")))
    assert "another class table" in str(change)


def test_drawn_scenes_have_one_too():
    train, val = (taken(SyntheticSplit(split, 0, 3, 32, 64)) for split in ("train", "val"))
    assert len(val["keys"]) == 3 and compare_fingerprints(train, val).is_other
