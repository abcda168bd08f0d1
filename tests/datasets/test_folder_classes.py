"""classes.json: merged ids, colours of masks, and what is wrong with it."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from datasets import folder
from datasets.base import ClassTable
from datasets.checks.classes import check_classes
from datasets.checks.label_ids import LabelIds
from datasets.checks.labels import check_ids
from datasets.index import data_digest, open_index
from datasets.own.settings import read_settings
from datasets.part import SubsetSplit
from tests.datasets import trees
from utils.errors import DataError

ROWS = [{"name": "road", "id": 0}]
RED, GREEN, BLUE, GREY = [200, 0, 0], [0, 200, 0], [0, 0, 200], [9, 9, 9]


def read(root, classes, **more):
    (root / "classes.json").write_text(json.dumps({"classes": classes, **more}))
    return read_settings(root / "classes.json")


def colored(root, classes, pixels, **more):
    """A split of one mask (1,N,3), beside another image that isn't looked at."""
    trees.make_folder(root, ["a", "b"])
    for name in ("a", "b"):
        trees.save(root / "masks" / f"{name}.png", np.array([pixels], np.uint8))
        trees.save(root / "images" / f"{name}.png", trees.rgb(9, 1, len(pixels)))
    read(root, classes, **more)
    return folder.build_split(root, "trainval")


def test_several_ids_are_one_class_and_the_first_is_written(tmp_path):
    trees.make_folder(tmp_path, ["a", "b"], value=5)
    rows = [{"name": "road", "id": [7, 5]}, {"name": "car", "id": 1}]
    (tmp_path / "classes.json").write_text(json.dumps({"classes": rows}))
    split = folder.build_split(tmp_path, "trainval")
    assert split.classes.id_to_train == {7: 0, 5: 0, 1: 1, 255: 255}
    assert (split.load_label(0) == 0).all() and (split.load_label_ids(0) == 5).all()
    assert split.classes.to_label_ids(np.array([[0, 1]], np.uint8)).tolist() == [[7, 1]]
    assert ClassTable.from_dict(json.loads(json.dumps(split.classes.to_dict("folder")))) == split.classes


def test_colours_are_read_as_ids_and_written_as_ids(tmp_path):
    rows = [{"name": "road", "color": [RED, GREEN]}, {"name": "car", "color": BLUE}]
    split = colored(tmp_path, rows, [GREEN, BLUE, RED, GREY], ignore=[GREY])
    assert split.load_label_ids(0).tolist() == split.load_label(0).tolist() == [[0, 1, 0, 255]]
    assert split.classes.palette == (tuple(RED), tuple(BLUE)) and split.classes.label_ids == (0, 1)
    before = split.fingerprint()
    with_ids = [row | {"id": 10 * (i + 1)} for i, row in enumerate(rows)]
    split = colored(tmp_path, with_ids, [GREEN, BLUE, RED, GREY], ignore=[GREY], masks="color")
    assert split.load_label_ids(0).tolist() == [[10, 20, 10, 255]] and split.load_label(0).tolist() == [[0, 1, 0, 255]]
    assert split.fingerprint() != before


def test_a_fingerprint_depends_on_what_colours_mean(tmp_path):
    rows = [{"name": "road", "color": RED}, {"name": "car", "color": BLUE}]
    splits = [colored(tmp_path, rows, [GREY, RED], ignore=ignored) for ignored in ([], [GREY])]
    assert len({split.fingerprint() for split in splits}) == 2
    assert len({SubsetSplit(split, [1]).fingerprint() for split in splits}) == 2
    indices = [open_index(split, tmp_path) for split in splits]
    assert len({data_digest(*pair) for pair in zip(indices, splits, strict=True)}) == 2
    assert [index.label_ids(0) for index in indices] == [{}, {0: 1, 255: 1}]  # a stranger is a fault


@pytest.mark.parametrize(
    ("stranger", "says"),
    [
        ([202, 1, 0], r"colour \[202, 1, 0\] \(2 pixels\).*3 pixels of 2 such.*'road' is \[200, 0, 0\], 2 away.*PNG"),
        ([90, 90, 90], r"colour \[90, 90, 90\] \(2 pixels\).*3 pixels of 2 such.*give it a class, or list the colour"),
    ],
)
def test_a_stranger_among_the_colours_is_named_and_counted(stranger, says, tmp_path):
    split = colored(tmp_path, [{"name": "road", "color": RED}], [RED, stranger, [1, 2, 3], stranger])
    with pytest.raises(DataError, match=rf"^{tmp_path}/masks/a.png: {says}.*classes.json$") as caught:
        split.load_label(0)
    assert "\n" not in str(caught.value)


def test_what_is_said_of_masks_in_colours_speaks_of_colours(tmp_path):
    said = {}
    for name, rows, pixels in (
        ("alone", [{"name": "road", "color": RED}], [RED, GREY]),
        ("absent", [{"name": "road", "color": RED}, {"name": "car", "color": BLUE}], [RED, GREY]),
        ("void", [{"name": "road", "color": RED}, {"name": "car", "color": BLUE}], [GREY, GREY]),
    ):
        split = colored(tmp_path / name, rows, pixels, ignore=[GREY])
        ids = LabelIds(split, open_index(split, tmp_path))
        said[name] = "; ".join(f.line() for f in (*check_ids(split, ids), *check_classes(split, ids, 0.5)))
    assert "the labels hold road (50.0%), ignored (50.0%)" in said["alone"]
    assert "give background a colour in classes, instead of it in ignore" in said["alone"]
    assert "no pixel of class car in the labels" in said["absent"] and "the colour in the masks" in said["absent"]
    assert "they hold ignored (100.0%)" in said["void"] and "give an ignored colour to a class" in said["void"]
    assert not any("255" in text or '"id"' in text for text in said.values())


def test_what_is_none_of_the_classes_is_written_as_an_id_that_no_class_has():
    table = ClassTable(("a", "b"), ((0, 0, 0), (1, 1, 1)), (0, 255), {0: 0, 255: 1})
    assert table.to_label_ids(np.array([[0, 1, 255]], np.uint8)).tolist() == [[0, 255, 254]]
    table = ClassTable(
        ("a", "b"), ((0, 0, 0), (1, 1, 1)), (0, 128), {label_id: label_id // 128 for label_id in range(256)}
    )
    assert table.to_label_ids(np.array([[0, 1]], np.uint8)).tolist() == [[0, 128]]  # there is nothing else to write


def test_colours_that_are_chosen_are_nobodys(tmp_path):
    rows = [{"name": "a", "id": 0}, {"name": "b", "id": 1, "color": [128, 0, 0]}, {"name": "c", "id": 2}]
    palette = read(tmp_path, rows).classes.palette
    assert len(set(palette)) == 3 and palette[2] == (128, 128, 0)  # as it was without the clash
    assert len(set(read(tmp_path, [{"name": f"c{i}", "id": i} for i in range(255)]).classes.palette)) == 255


A, COLORED = {"name": "a", "id": 0}, {"name": "a", "color": RED}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ({"classes": [A | {"name": "\ud800"}]}, r"classes\[0\].name"),
        ("[]", "'classes'"),
        ("{}", "'classes'"),
        ({"classes": []}, "'classes'"),
        ({"classes": ["road"]}, r"'classes\[0\]'"),
        ({"classes": [{"id": 0}]}, r"classes\[0\].name"),
        ({"classes": [A, {"name": "a", "id": 1}]}, r"classes\[1\].name"),
        ({"classes": [A, {"name": "b", "id": 0}]}, r"classes\[1\].id"),
        ({"classes": [A, {"name": "b", "id": [1, 0]}]}, r"classes\[1\].id\[1\]"),
        ({"classes": [{"name": "a", "id": []}]}, r"classes\[0\].id"),
        ({"classes": [{"name": "a", "id": 256}]}, r"classes\[0\].id.*256"),
        ({"classes": [{"name": "a", "id": True}]}, r"classes\[0\].id"),
        ({"classes": [A | {"color": [0, 0]}]}, r"classes\[0\].color"),
        ({"classes": [A | {"color": "red"}]}, r"classes\[0\].color.*'red'"),
        ({"classes": [A | {"color": RED}, {"name": "b", "id": 1, "color": RED}]}, r"classes\[1\].color.*'a'"),
        ({"classes": [A | {"colour": RED}]}, r"unknown key 'classes\[0\].colour'; is 'color' meant"),
        ({"classes": [A], "ignored": [1]}, "unknown key 'ignored'; is 'ignore' meant"),
        ({"classes": [A], "ignore": 255}, "'ignore'"),
        ({"classes": [A], "ignore": [0]}, r"ignore\[0\]"),
        ({"classes": [A], "masks": "rgb"}, "'masks'.*'rgb'"),
        ({"classes": [A], "masks": "color"}, r"classes\[0\].color"),
        ({"classes": [COLORED], "ignore": [255]}, r"ignore\[0\]"),
        ({"classes": [COLORED], "ignore": [RED]}, r"ignore\[0\].*'a'"),
        ({"classes": [COLORED | {"id": 255}], "masks": "color"}, r"classes\[0\].id.*255"),
        ({"classes": [A], "image_folder": 3}, "'image_folder'"),
        ({"classes": [A], "mask_name": "_mask"}, r"'mask_name'.*\*"),
        ({"classes": [A], "mask_folder": "images"}, "'mask_name'"),
        ({"classes": [A], "skip_unlabelled": 1}, "'skip_unlabelled'"),
        ({"classes": [A], "splits": ["train"]}, "'splits'"),
        ({"classes": [A], "splits": {"train": "a.txt"}}, "'splits.val'"),
        ({"classes": [A], "splits": {"training": "a.txt"}}, "'splits.training'; is 'train' meant"),
    ],
)
def test_a_malformed_file_names_itself_and_the_key(text, key, tmp_path):
    path = tmp_path / "classes.json"
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    with pytest.raises(DataError, match=f"{path}.*{key}") as caught:
        read_settings(path)
    assert "\n" not in str(caught.value)


def test_the_examples_of_the_documentation_can_be_read(tmp_path):
    page = (Path(__file__).parents[2] / "DATASETs.md").read_text()
    examples = re.findall(r"```json\n *(\{\"classes\".*?)```", page, re.DOTALL)
    keys = re.findall(r"^\| `[^|]*\| `(\"[^|]*)` \|", page, re.MULTILINE)
    for more in [*map(json.loads, examples), *(json.loads(f"{{{key}}}") for key in keys)]:
        rows = [{"name": "road", "color": RED}] if "masks" in more or "ignore" in more else ROWS
        read(tmp_path, **{"classes": rows} | more)
    assert len(examples) == 2 and len(keys) == 6
