"""Images to labels in three lines: through torch.hub, equal to eval.py's, with plain words for what isn't an image."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import demo_folder
import eval
import hubconf
from engine.checkpoint.snapshot import load_snapshot
from engine.inference.segmenter import Segmenter, as_rgb
from engine.inference.small_weights import SMALL_WEIGHTS
from network import build_model, list_models
from tests.conftest import eval_args
from utils.errors import CheckpointError, DataError, OptionError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def small() -> Segmenter:
    return Segmenter(device="cpu")


def test_labels_are_those_of_eval(trained, tmp_path):
    assert eval.main(eval_args(trained.best, trained.data, tmp_path, "--dump_images")) == 0
    segment = torch.hub.load(str(ROOT), "segmenter", source="local", snapshot=str(trained.best), device="cpu")
    paths = sorted((trained.data / "images" / "val").iterdir())
    results = segment(paths)
    assert len(results) == len(paths) == 4 and segment.names == ["sky", "road", "car", "tree"]
    for path, result in zip(paths, results, strict=True):
        dumped = np.array(Image.open(tmp_path / "pred" / path.name))  # ids 0 to 3 are the train ids
        np.testing.assert_array_equal(result.labels, dumped)
        assert result.probabilities.shape == (4, *dumped.shape)
        np.testing.assert_allclose(result.probabilities.sum(0), 1, atol=1e-5)
        np.testing.assert_array_equal(result.probabilities.argmax(0), result.labels)
        np.testing.assert_array_equal(result.confidence, result.probabilities.max(0))


def test_bare_weights_and_other_classes(trained, tmp_path):
    torch.save(load_snapshot(trained.best)["model"], tmp_path / "bare.pth")
    with pytest.raises(OptionError, match="--arch and --dataset"):
        Segmenter(tmp_path / "bare.pth", device="cpu")
    with pytest.raises(CheckpointError):  # 4 classes, not 11
        Segmenter(tmp_path / "bare.pth", torch.device("cpu"), arch="fenet_tiny", dataset="camvid")
    with pytest.raises(CheckpointError):
        Segmenter(trained.best, device="cpu", dataset="camvid")
    assert Segmenter(trained.best, device="cpu", dataset="folder").names[0] == "sky"  # the snapshot's
    torch.save(build_model("fenet_tiny", 11).state_dict(), tmp_path / "bare.pth")
    assert Segmenter(tmp_path / "bare.pth", torch.device("cpu"), arch="fenet_tiny", dataset="camvid").names[0] == "Sky"


def test_kinds_of_images(small, tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    Image.fromarray(array).save(tmp_path / "photo.png")
    results = small([array, Image.fromarray(array), tmp_path / "photo.png", str(tmp_path / "photo.png")])
    assert all(np.array_equal(result.labels, results[0].labels) for result in results)
    assert results[0].overlay().shape == (64, 96, 3)
    Image.fromarray((array[..., 0].astype(np.uint16) << 8) + 255).save(tmp_path / "deep.png")
    assert np.array_equal(as_rgb(Image.open(tmp_path / "deep.png")), as_rgb(tmp_path / "deep.png"))
    results[0].save(tmp_path / "overlay.png")
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "overlay.png")), results[0].overlay())
    with pytest.raises(OptionError, match="labels_only"):
        _ = small(array, labels_only=True).confidence


def test_what_is_no_image(small, tmp_path):
    (tmp_path / "text.png").write_text("no")
    for wrong, said in (
        (np.zeros((8, 8), np.uint8), "shape"),
        (np.zeros((8, 8, 3), np.float32), "uint8"),
        (torch.zeros(3, 8, 8), "tensor"),
        (tmp_path / "none.png", "none.png"),
        (tmp_path / "text.png", "text.png"),
        (7, "int"),
    ):
        with pytest.raises(DataError, match=said):
            small(wrong)
    with pytest.raises(OptionError, match="scale"):
        Segmenter(device="cpu", scale=2)
    with pytest.raises(OptionError, match="merge"):
        Segmenter(device="cpu", merge="logit")
    for name, value in ("amp", "fp8"), ("runtime", "tensorrt"):
        with pytest.raises(OptionError, match=f"--{name} {value}: choose one of"):
            Segmenter(device="cpu", **{name: value})
    with pytest.raises(CheckpointError, match="none.pth"):
        Segmenter(tmp_path / "none.pth", device="cpu")


def test_the_small_weights(small, capsys):
    from datasets.synthetic.split import SyntheticSplit

    split = SyntheticSplit("val", 0, 4, 256, 512)
    right = [(small(split.load_image(i)).labels == split.load_label(i)).mean() for i in range(4)]
    assert np.mean(right) > 0.6  # of 19 classes: they were trained
    assert SMALL_WEIGHTS.stat().st_size < 6 * 2**20


def test_the_demo_takes_the_small_weights(tmp_path, capsys):
    Image.new("RGB", (64, 48)).save(tmp_path / "photo.png")
    assert (
        demo_folder.main(["--source", str(tmp_path / "photo.png"), "--save_dir", str(tmp_path), "--device", "cpu"]) == 0
    )
    assert "weights: fenet_tiny_synthetic.safetensors, the repository's own" in capsys.readouterr().out


def test_entry_points():
    listed = {name for name, value in vars(hubconf).items() if callable(value) and not name.startswith("_")}
    assert listed == {"segmenter", *list_models()}  # what torch.hub.list shows
    model = torch.hub.load(str(ROOT), "fenet_tiny", source="local", num_classes=4, channels=16)
    assert model.config["num_classes"] == 4


def test_another_package_of_the_same_name(tmp_path):
    (tmp_path / "datasets.py").write_text("")
    code = f"import datasets, torch; torch.hub.load({str(ROOT)!r}, 'segmenter', source='local')"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode and "another 'datasets' is imported" in done.stderr.splitlines()[-1]


def test_the_page_runs(tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.S)
    assert len(blocks) >= 4
    code = "\n".join(blocks).replace('"overlay.png"', repr(str(tmp_path / "overlay.png")))
    monkeypatch.chdir(ROOT)
    exec(compile(code, "docs/python.md", "exec"), {})
    assert (tmp_path / "overlay.png").exists()
