"""`--patience`: a run whose validations don't get better ends as done, and says so again when it is resumed."""

import json

import pytest

import train
from engine.training.options import ValidationOptions
from tests.conftest import make_scenes, train_args
from utils.errors import OptionError


def test_a_run_that_learns_nothing_ends(tmp_path, capfd):
    data = make_scenes(tmp_path / "data", 4)
    still = ("--lr", "1e-30", "--fix_bn", "--class_uniform_pct", "0", "--max_epoch", "5")

    def go(*more: str) -> tuple[str, list[int]]:
        assert train.main(train_args(data, tmp_path, *still, *more)) == 0
        lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
        return "".join(capfd.readouterr()), [json.loads(line)["epoch"] for line in lines]

    ended = "ended at step 6: 2 validations without a higher mIoU (--patience)"
    text, epochs = go("--patience", "2")
    assert ended in text and "best epoch: 0" in text and epochs == [0, 1, 2]
    text, epochs = go("--patience", "2")
    assert "this run is finished; to train longer, give a larger --patience; " in text and ended in text
    assert epochs == [0, 1, 2]
    text, epochs = go("--patience", "3")
    assert "3 validations without a higher mIoU" in text and epochs == [0, 1, 2, 3]
    with pytest.raises(OptionError, match="--patience 0: must be at least 1"):
        ValidationOptions(patience=0)
