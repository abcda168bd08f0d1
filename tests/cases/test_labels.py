"""Labels and batches that don't mean what their user thinks: train.py says it before its first step, the doctor too."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.cases.common import Programs, Save, make, rows, save, write_classes

VOID = 255


def box_is(value: int, rest: int = 0) -> Save:
    """Saves labels in which only the box is drawn."""
    return lambda label, path: save(np.where(label == 2, value, rest).astype(np.uint8), path)


def fill(value: int, *places: Path, size: tuple[int, int] = (96, 128)) -> None:
    for path in places:
        save(np.full(size, value, np.uint8), path)


def both(programs: Programs, data: Path, *more: str) -> tuple[int, str]:
    """The exit code of train.py, which the doctor has too, and what train.py says about the data."""
    code, text = programs.train(data, "--max_steps", "1", *more)
    told = [line for line in text.splitlines() if line.startswith(("WARNING: ", "error: "))]
    doctor_code, doctor = programs.doctor(data, *more)
    assert code == doctor_code
    for line in told:
        assert re.split("; |: /", line.split(": ", 1)[1])[0] in doctor
    return code, "\n".join(told)


def test_a_healthy_set_trains_without_a_warning(programs, tmp_path):
    assert both(programs, make(tmp_path / "data")) == (0, "")


def test_masks_of_0_and_255(programs, tmp_path):
    data = make(tmp_path / "data", save_mask=box_is(255))
    write_classes(data, rows("background", "box"))
    code, told = both(programs, data)
    assert code == 0 and told.startswith(
        "WARNING: train: no pixel of class box (id 1) in the labels; they hold 0 (93.8%"
    )
    assert '{"name": "box", "id": 255}' in told and "with 1 in its place" in told and told.count("WARNING") == 1
    write_classes(data, rows("background", box=255))  # the first way to mean it
    assert both(programs, data) == (0, "")


def test_one_class_and_the_rest_ignored(programs, tmp_path):
    data = make(tmp_path / "data", save_mask=box_is(1))
    write_classes(data, rows(box=1), ignore=[0])
    code, told = both(programs, data)
    assert code == 0 and told.startswith("WARNING: train: box is the only class") and "the loss is 0" in told
    assert '{"name": "background", "id": 0}' in told and told.count("WARNING") == 1


def unknown_id(root: Path) -> None:
    fill(9, root / "masks/train/004.png")


def other_size(root: Path) -> None:
    fill(1, root / "masks/val/007.png", size=(48, 64))


def all_void(root: Path) -> None:
    fill(VOID, *root.glob("masks/val/*"))


def several_sizes(root: Path) -> None:
    for kind, shape in (("images", (64, 64, 3)), ("masks", (64, 64))):
        save(np.ones(shape, np.uint8), root / kind / "val" / "007.png")


REFUSED = {  # what is wrong -> exit code, what is said
    unknown_id: (3, "masks/train/004.png: id 9 (12288 pixels)"),
    other_size: (3, "masks/val/007.png: the label is 64x48 pixels, the image 128x96"),
    all_void: (3, "val: no label has a pixel of any class; they hold 255 (100.0%, ignored)"),
    several_sizes: (2, "--bs_mult_val 2: val has images of 2 sizes"),
}


@pytest.mark.parametrize("damage", REFUSED, ids=lambda damage: damage.__name__)
def test_refused_before_the_first_step(programs, tmp_path, damage):
    data = make(tmp_path / "data")
    damage(data)
    code, said = REFUSED[damage]
    found, told = both(programs, data, "--bs_mult_val", "2")
    assert found == code and told.startswith("error: ") and said in told
    assert not (programs.out / "run").exists()


def test_whole_images_of_several_sizes_fit_in_no_training_batch(programs, tmp_path):
    data = make(tmp_path / "data")
    for kind, shape in (("images", (64, 64, 3)), ("masks", (64, 64))):
        save(np.ones(shape, np.uint8), data / kind / "train" / "001.png")
    found, told = both(programs, data, "--max_crop_epoch", "0", "--max_epoch", "2")
    assert found == 2 and "--max_crop_epoch --bs_mult 2: images of 2 sizes, which fit in no batch" in told
    assert both(programs, data, "--max_crop_epoch", "0", "--max_epoch", "1") == (0, "")  # all epochs are of crops


def test_one_image_is_refused_once(programs, tmp_path):
    data, refusals = make(tmp_path / "data", {"train": 1, "val": 1}), set()
    for batch in ("1", "2"):
        code, told = both(programs, data, "--bs_mult", batch)
        assert code == 2
        refusals.add(told.split(":", 2)[-1])
    assert len(refusals) == 1 and "--bs_mult 1 with --norm group or --fix_bn" in refusals.pop()
    assert both(programs, data, "--bs_mult", "1", "--fix_bn") == (0, "")


RUINED = {
    "no file is an image": lambda root: [path.write_bytes(b"x") for path in root.rglob("*.png")],
    "no class file": lambda root: (root / "classes.json").unlink(),
    "half a class file": lambda root: (root / "classes.json").write_text('{"classes": ['),
    "no masks": lambda root: shutil.rmtree(root / "masks"),
    "no val": lambda root: shutil.rmtree(root / "images" / "val"),
    "val is empty": lambda root: [path.unlink() for path in (root / "images" / "val").iterdir()],
    "train is empty": lambda root: [path.unlink() for path in (root / "images" / "train").iterdir()],
    "all labels are void": lambda root: fill(VOID, *root.glob("masks/*/*")),
    "all ids are unknown": lambda root: fill(77, *root.glob("masks/*/*")),
    "all labels are small": lambda root: fill(1, *root.glob("masks/*/*"), size=(9, 9)),
    "half an image": lambda root: (root / "images/train/000.png").write_bytes(
        (root / "images/train/000.png").read_bytes()[:999]
    ),
    "a label is a folder": lambda root: [(root / "masks/val/008.png").unlink(), (root / "masks/val/008.png").mkdir()],
}


@pytest.mark.parametrize("ruin", RUINED)
def test_the_doctor_outlives_what_it_finds(programs, tmp_path, ruin):
    data = make(tmp_path / "data")
    RUINED[ruin](data)
    code, text = programs.doctor(data)
    assert code == 3 and "ERROR" in text and text.endswith("not ready to train on: see the errors")
    assert "internal" not in text


VARIANTS = {  # name -> label of the box, of the rest, classes, other keys, what train.py says (empty: nothing)
    "255 and an empty ignore": (255, 0, rows("background", "box"), {"ignore": []}, '{"name": "box", "id": 255}'),
    "255 for one of three classes": (255, 0, rows("ground", "box", "sky"), {}, "no pixel of class box (id 1), sky"),
    "1 where 255 is the class": (1, 0, rows("background", box=255), {}, 'give 1 a meaning in classes.json: {"name"'),
    "255 is the only class": (255, 0, rows(box=255), {"ignore": [0]}, '{"name": "background", "id": 0}'),
    "the rest isn't named": (1, 0, rows(box=1), {}, '{"name": "...", "id": 0} in classes; or mend the labels'),
    "the rest is 255": (1, 255, rows(box=1), {}, '{"name": "background", "id": 255}'),
    "only the rest is a class": (1, 0, rows("background"), {"ignore": [1]}, '{"name": "object", "id": 1}'),
    "one class everywhere": (0, 0, rows("box"), {}, "name a second class in classes.json"),
    "ids from 1 on": (1, 2, rows("box", "ground"), {}, "give 2 a meaning"),
    "ids from 1 on, 255 ignored": (1, 255, rows(box=1, ground=2), {}, "no pixel of class ground (id 2)"),
    "255 is the background": (1, 255, rows(box=1, background=255), {}, ""),
    "two ids above": (200, 100, rows(box=200, ground=100), {}, ""),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_variants(programs, tmp_path, name):
    value, rest, classes, more, said = VARIANTS[name]
    data = make(tmp_path / "data", save_mask=box_is(value, rest))
    write_classes(data, classes, **more)
    code, told = both(programs, data)
    assert said in told and bool(said) == bool(told)
    assert (code == 0) == (not told.startswith("error: "))
