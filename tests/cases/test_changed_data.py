"""A run whose data, length or place changed since its snapshot: refused with what changed, or resumed to its end."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import train
from tests.conftest import make_scenes, train_args
from tests.processes import launch

RUN = ("--max_epoch", "4", "--class_uniform_pct", "0.25", "--class_uniform_tile", "32", "--val_every", "4")


@pytest.fixture
def data(tmp_path) -> Path:
    """12 images to train on: 6 steps an epoch."""
    return make_scenes(tmp_path / "data", 12)


@pytest.fixture
def go(tmp_path, capfd) -> Callable:
    """(data, options) -> exit code and what a run prints, always in the same folder."""

    def run(data: Path, *more: str) -> tuple[int, str]:
        code = train.main(train_args(data, tmp_path / "out", *RUN, *more))
        said = capfd.readouterr()
        return code, said.out + said.err

    return run


def remove(data: Path, stem: str, split: str = "train") -> None:
    for folder in ("images", "masks"):
        (data / folder / split / f"{stem}.png").unlink()


def add(data: Path, stem: str, split: str = "train") -> None:
    for folder in ("images", "masks"):
        shutil.copy(data / folder / split / "000.png", data / folder / split / f"{stem}.png")


def rewrite(path: Path) -> None:
    """Another first pixel; a label's keeps to the ids that there are."""
    pixels = np.array(Image.open(path))
    pixels[0, 0] = (pixels[0, 0] + 1) % 4
    Image.fromarray(pixels).save(path)


def steps(text: str) -> list[tuple[int, int, float]]:
    """Number, total and learning rate of the steps in the log."""
    return [(int(n), int(of), float(rate)) for n, of, rate in re.findall(r" step (\d+)/(\d+) .* lr (\S+)", text)]


def ends_right(text: str, last: int) -> bool:
    """Each step came once up to `last`, which is the total, and the learning rate fell evenly to 0 beyond it."""
    numbers, totals, rates = zip(*steps(text), strict=True)
    even = np.linspace(rates[0], 0, len(rates) + 1)[:-1]
    return numbers == tuple(range(numbers[0], last + 1)) and set(totals) == {last} and np.allclose(rates, even, 2e-3)


def resumed(tmp_path: Path) -> list[dict]:
    return json.loads((tmp_path / "out" / "run" / "config.json").read_text()).get("resumed", [])


def test_a_removed_pair_is_named_and_an_override_ends_right(data, go, tmp_path):
    assert go(data, "--max_steps", "8")[0] == 0
    remove(data, "005")
    length = "4 epochs of 6 steps -> 4 epochs of 5 steps: 24 -> 22 steps"
    code, text = go(data)
    assert code == 3 and "12 images -> 11: 1 removed, 0 added, 0 rewritten" in text and length in text
    assert "--resume_override" in text and "another --exp" in text and not steps(text)
    code, text = go(data, "--resume_override")
    assert code == 0 and ends_right(text, 22) and steps(text)[0][0] == 9 and "final weights sha256" in text
    assert "since that snapshot: training data 12 images -> 11" in text
    (entry,) = resumed(tmp_path)
    assert entry["step"] == 8 and entry["changed"]["train_images"] == [12, 11]
    assert entry["changed"]["steps_per_epoch"] == [6, 5] and entry["changed"]["total_steps"] == [24, 22]
    code, text = go(data)  # the override is of the past
    assert code == 0 and "this run is finished" in text and "since that snapshot" not in text
    assert len(resumed(tmp_path)) == 1


def test_another_data_set_needs_another_exp(data, go, tmp_path):
    assert go(data, "--max_steps", "1")[0] == 0
    moved = shutil.copytree(data, tmp_path / "moved", copy_function=shutil.copyfile)
    code, text = go(moved, "--max_steps", "2")
    assert code == 0 and "since that snapshot" not in text and "WARNING" not in text
    for split in ("train", "val"):
        for path in [*(moved / "images" / split).iterdir(), *(moved / "masks" / split).iterdir()]:
            rewrite(path)
            path.rename(path.with_name(f"other_{path.name}"))
    for more in ((), ("--resume_override",)):
        code, text = go(moved, *more)
        assert code == 3 and "another data set" in text and "name another --exp" in text
    code, text = go(moved, "--resume", "never", "--max_steps", "1")
    assert code == 0 and (tmp_path / "out" / "run" / "replaced_1" / "last.pth").exists()


CHANGES = [  # step, of which 6 ends an epoch and 23 is the last but one; what is done; what is said
    (6, lambda data: [add(data, "900"), add(data, "901")], "12 images -> 14: 0 removed, 2 added, 0 rewritten"),
    (8, lambda data: rewrite(data / "images/train/003.png"), "12 images -> 12: 0 removed, 0 added, 1 rewritten"),
    (23, lambda data: rewrite(data / "masks/train/003.png"), "12 images -> 12: 0 removed, 0 added, 1 rewritten"),
    (23, lambda data: [remove(data, f"{i:03d}") for i in range(4, 12)], "12 images -> 4: 8 removed"),
    (6, lambda data: [remove(data, "003"), add(data, "900")], "12 images -> 12: 1 removed, 1 added, 0 rewritten"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("at", "change", "words"), CHANGES, ids=range(len(CHANGES)))
def test_changes_at_any_place(at, change, words, data, go):
    assert go(data, "--max_steps", str(at))[0] == 0
    change(data)
    code, text = go(data)
    assert code == 3 and words in text
    code, text = go(data, "--resume_override", "--max_steps", str(at + 1))
    assert code == 0
    total = steps(text)[0][1] if steps(text) else at  # nothing is left where few images are, shortly before the end
    code, text = go(data)
    assert code == 0 and (not steps(text) or ends_right(text, total))
    assert "this run is finished" in go(data)[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "epochs"),
    [
        (("--bs_mult", "3"), "4 epochs of 4 steps"),
        (("--bs_mult", "4"), "4 epochs of 3 steps"),
        (("--accumulate", "2"), "4 epochs of 3 steps"),
        (("--accumulate", "6"), "4 epochs of 1 steps"),
        (("--max_epoch", "7"), "7 epochs of 6 steps"),
        (("--max_epoch", "2"), "2 epochs of 6 steps"),
        (("--max_epoch", "5", "--bs_mult", "4", "--lr", "0.009"), "5 epochs of 3 steps"),
        (("--lr", "0.009"), None),
    ],
)
def test_other_options_end_right(more, epochs, data, go, tmp_path):
    assert go(data, "--max_steps", "8")[0] == 0
    code, text = go(data, *more)
    assert code == 2 and "--resume_override" in text and (epochs is None or f" -> {epochs}: 24 -> " in text)
    code, text = go(data, *more, "--resume_override")
    assert code == 0 and ends_right(text, steps(text)[0][1]) and steps(text)[0][0] == 9
    changed = resumed(tmp_path)[0]["changed"]
    for flag, value in zip(more[::2], more[1::2], strict=True):
        assert changed[flag.strip("-")][1] == float(value)


@pytest.mark.slow
def test_another_length_after_the_end(data, go):
    assert go(data, "--max_epoch", "2")[0] == 0
    code, text = go(data, "--max_epoch", "3")
    assert code == 2 and "finished run of 2 epochs; --resume_override trains on" in text
    for more in ((), ("--resume_override",)):
        code, text = go(data, "--max_epoch", "1", *more)
        assert code == 2 and "has begun epoch 2 already; give 2 or more" in text
    code, text = go(data, "--max_epoch", "3", "--resume_override")
    assert code == 0 and ends_right(text, 18) and steps(text)[0][2] == pytest.approx(0.01 / 3, rel=1e-3)
    add(data, "900")
    add(data, "901")
    code, text = go(data, "--max_epoch", "3")
    assert code == 3 and "the run is finished: a larger --max_epoch with --resume_override trains on" in text
    code, text = go(data, "--max_epoch", "4", "--resume_override")
    assert code == 0 and ends_right(text, 25) and steps(text)[0][0] == 19


@pytest.mark.slow
def test_changed_validation_data_are_said(data, go, tmp_path):
    assert go(data, "--max_steps", "6")[0] == 0
    add(data, "900", "val")
    code, text = go(data, "--max_steps", "7")
    assert code == 0 and "validation data changed since that snapshot: 6 images -> 7: 0 removed, 1 added" in text
    assert resumed(tmp_path)[0]["changed"]["val_images"] == [6, 7]


@pytest.mark.slow
def test_a_removed_pair_on_two_processes(data, tmp_path):
    argv = [
        "train.py",
        *train_args(data, tmp_path / "out", *RUN, *"--norm group --norm_groups 8 --accumulate 2 --bs_mult 1".split()),
    ]
    assert launch([*argv, "--max_steps", "4"], processes=2).returncodes == [0, 0]  # of 3 an epoch
    remove(data, "005")
    refused = launch(argv, processes=2)
    assert refused.returncodes == [3, 3] and refused.stderr.count("error: ") == 1
    done = launch([*argv, "--resume_override"], processes=2)
    assert done.returncodes == [0, 0] and ends_right(done.stdout, 10), done.stderr
    alone = launch([*argv, "--accumulate", "1", "--resume_override"])  # half the batch, of a finished run
    assert alone.returncode == 0 and "this run is finished" in alone.stdout, alone.stderr
