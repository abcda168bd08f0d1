"""Predictions as files: label ids, colours, overlays, errors."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from datasets.cityscapes import CLASSES
from engine.evaluation.prediction_files import PredictionWriter
from utils.errors import EnvironmentFault


def batch(*names: str) -> dict:
    count = len(names)
    return {"name": list(names), "image": torch.rand(count, 3, 4, 6), "label": torch.zeros(count, 4, 6).long()}


def writer(folder, labelled: bool = True, **options) -> PredictionWriter:
    split = SimpleNamespace(classes=CLASSES, has_labels=labelled)
    return PredictionWriter(folder, split, (0.5, 0.5, 0.5), (0.0, 0.0, 0.0), **options)  # images of grey 128


def files(folder) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_label_ids_and_pictures(tmp_path):
    predictions = torch.tensor([[[0] * 6] * 4, [[18] * 6] * 4], dtype=torch.uint8)
    writer(tmp_path).write(batch("a", "city/a"), predictions)  # one stem, two folders
    assert files(tmp_path) == {
        f"{kind}/{name}.png" for kind in ("pred", "color", "overlay", "diff") for name in ("a", "city/a")
    }
    for name, label_id, color in (("a", 7, (128, 64, 128)), ("city/a", 33, (119, 11, 32))):
        ids = Image.open(tmp_path / "pred" / f"{name}.png")
        assert ids.mode == "L" and ids.size == (6, 4) and (np.array(ids) == label_id).all()
        colors, blend = (np.array(Image.open(tmp_path / kind / f"{name}.png")) for kind in ("color", "overlay"))
        assert (colors == color).all()
        assert np.abs(blend - (colors / 2 + 64)).max() <= 1


def test_only_label_ids(tmp_path):
    writer(tmp_path, pictures=False).write(batch("a"), torch.zeros(1, 4, 6, dtype=torch.uint8))
    assert files(tmp_path) == {"pred/a.png"}


def test_no_error_map_without_labels(tmp_path):
    writer(tmp_path, labelled=False).write(batch("a"), torch.zeros(1, 4, 6, dtype=torch.uint8))
    assert files(tmp_path) == {"pred/a.png", "color/a.png", "overlay/a.png"}


def test_full_disk_keeps_finished_files(tmp_path, monkeypatch):
    written = writer(tmp_path, pictures=False)
    predictions = torch.zeros(2, 4, 6, dtype=torch.uint8)
    synced = []

    def fill(file) -> None:
        synced.append(file)
        if len(synced) > 2:  # the first picture is two: the file and its folder
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fill)
    with pytest.raises(EnvironmentFault, match="b.png.*No space left") as info:
        written.write(batch("a", "b"), predictions)
    assert info.value.exit_code == 5
    assert files(tmp_path) == {"pred/a.png"} and np.array(Image.open(tmp_path / "pred" / "a.png")).shape == (4, 6)
