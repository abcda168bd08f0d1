"""scripts/check_submission.py on what eval.py --submission wrote, and on what others did."""

import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from datasets import build_split
from engine.evaluation.submission import write_submission
from scripts import check_submission
from tests.test_bad_input import fails


@pytest.fixture
def place(scenes, tmp_path):
    """Predictions of the `val` split, in `pred/` and in `s.zip`."""
    split, folder = build_split("folder", scenes, "val"), tmp_path / "out"
    (folder / "pred").mkdir(parents=True)
    for index, name in enumerate(split.names):
        shutil.copy(split.files(index)[1], folder / "pred" / f"{name}.png")
    write_submission(folder / "s.zip", folder / "pred", split)
    return folder


def arguments(scenes, path, *more: str) -> list[str]:
    return [str(path), "--dataset", "folder", "--data_root", str(scenes), "--split", "val", *more]


def test_what_eval_writes_is_valid(place, scenes, capsys):
    zipfile.ZipFile(place / "s.zip").extractall(place / "unzipped")
    for path in (place, place / "pred", place / "s.zip", place / "unzipped"):
        assert check_submission.main(arguments(scenes, path)) == 0
        assert capsys.readouterr().out.endswith("4 predictions checked, a valid submission for folder val\n")


def test_everything_that_is_wrong_comes_in_one_message(place, scenes, capfd):
    Image.fromarray(np.full((48, 64), 77, np.uint8)).save(place / "pred" / "000.png")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(place / "pred" / "001.png")
    (place / "pred" / "002.png").rename(place / "pred" / "extra.png")
    words = ("000.png holds 77", "001.png is 4x4 for 64x48", "1 missing (002.png)", "1 not of split val (extra.png)")
    fails(capfd, 3, check_submission.main, arguments(scenes, place), *words)
    with zipfile.ZipFile(place / "t.zip", "w") as archive:
        for path in (place / "pred").iterdir():
            archive.write(path, path.name)
    fails(capfd, 3, check_submission.main, arguments(scenes, place / "t.zip"), *words)


def test_what_is_no_submission(place, scenes, capfd):
    whole = (place / "s.zip").read_bytes()
    (place / "s.zip").write_bytes(whole[:-40])
    fails(capfd, 3, check_submission.main, arguments(scenes, place / "s.zip"), "s.zip: not a readable zip")
    (place / "s.zip").write_bytes(whole[:60] + bytes(20) + whole[80:])  # in the first picture
    fails(capfd, 3, check_submission.main, arguments(scenes, place / "s.zip"), "1 not readable as PNG (000.png)")
    fails(capfd, 3, check_submission.main, arguments(scenes, place / "none.zip"), "none.zip: no such file or folder")
    fails(capfd, 3, check_submission.main, arguments(scenes / "none", place), "--data_root")
    fails(capfd, 2, check_submission.main, [str(place), "--dataset", "pascal"], "--dataset pascal")
