"""eval.py --submission on drawn scenes in the layout and size of Cityscapes, judged by cityscapesScripts."""

import json
import shutil
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import eval as evaluation
import network
from datasets.cityscapes import CLASSES
from scripts import make_synthetic
from tests.processes import launch
from utils.files import file_sha256

SCENES = 3


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    root = tmp_path_factory.mktemp("city") / "data"
    assert make_synthetic.main([str(root), "--train", "0", "--val", str(SCENES), "--test", str(SCENES)]) == 0
    shutil.rmtree(root / "gtFine" / "test")
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory, city):
    """A model that wasn't trained, with a classifier that uses all classes."""
    torch.manual_seed(0)
    model = network.build_model("fenet_tiny", 19, aux=False).eval()
    classifier = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d) and layer.out_channels == 19][-1]
    picture = Image.open(next(city.glob("leftImg8bit/val/*/*.png"))).resize((256, 128))
    with torch.no_grad():
        logits = model(torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 128 - 1)["logits"]
        classifier.bias -= logits.mean((0, 2, 3))
        scale = logits.std((0, 2, 3))
        classifier.weight /= scale[:, None, None, None]
        classifier.bias /= scale
    path = tmp_path_factory.mktemp("weights") / "bare.pth"
    torch.save(model.state_dict(), path)
    return path


def arguments(weights, city, out, split, *more) -> list[str]:
    return [
        *("--snapshot", str(weights), "--arch", "fenet_tiny", "--dataset", "cityscapes", "--data_root", str(city)),
        *("--split", split, "--save_dir", str(out), "--submission", str(out / "submission.zip")),
        *("--base_size", "128", "--num_workers", "0", "--device", "cpu", *more),
    ]


def test_val_gives_its_score_back_through_the_official_tool(city, weights, tmp_path, monkeypatch):
    official = pytest.importorskip("cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling")
    assert evaluation.main(arguments(weights, city, tmp_path / "out", "val")) == 0
    results = tmp_path / "results"
    zipfile.ZipFile(tmp_path / "out" / "submission.zip").extractall(results)
    truths = sorted(str(path) for path in city.glob("gtFine/val/*/*_labelIds.png"))
    predictions = {}
    monkeypatch.setattr(official.args, "predictionPath", str(results))
    monkeypatch.setattr(official.args, "predictionWalk", None)
    for truth in truths:
        predictions[truth] = official.getPrediction(official.args, truth)  # finds it by the server's pattern
        with Image.open(predictions[truth]) as picture:
            assert (picture.size, picture.mode) == ((2048, 1024), "L")
            assert set(np.unique(picture)) <= set(CLASSES.label_ids)  # the tool's kernel doesn't check bounds
    assert len(set(predictions.values())) == SCENES
    monkeypatch.setattr(np, "in1d", np.isin, raising=False)  # 2.3.0 under NumPy >= 2.4
    monkeypatch.setattr(official.args, "JSONOutput", False)
    monkeypatch.setattr(official.args, "quiet", True)
    result = official.evaluateImgLists(list(predictions.values()), truths, official.args)

    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["mean_iou"] == pytest.approx(result["averageScoreClasses"], rel=1e-12)
    matrix = np.array(result["confMatrix"])[np.ix_(CLASSES.label_ids, CLASSES.label_ids)]
    assert matrix.tolist() == metrics["confusion_matrix"] and len(np.flatnonzero(matrix.sum(0))) > 5
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"metrics.json", "pred", "submission.zip"} <= left and "color" not in left


def test_two_processes_leave_the_zip_that_one_leaves(city, weights, tmp_path):
    assert evaluation.main(arguments(weights, city, tmp_path / "one", "test")) == 0
    done = launch(["eval.py", *arguments(weights, city, tmp_path / "two", "test")], processes=2)
    assert done.returncode == 0, done.stderr
    assert f"{SCENES} predictions checked" in done.stdout
    one, two = (tmp_path / name / "submission.zip" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    names = {path.name for path in city.glob("leftImg8bit/test/*/*.png")}
    assert set(zipfile.ZipFile(one).namelist()) == names
    record = json.loads((tmp_path / "one" / "predictions.json").read_text())  # there are no scores that would say it
    assert (record["dataset"], record["split"], record["num_images"]) == ("cityscapes", "test", SCENES)
    assert record["snapshot_sha256"] == file_sha256(weights) and record["protocol"]["base_size"] == 128
    assert record == json.loads((tmp_path / "two" / "predictions.json").read_text())
    assert "--inference_mode whole --scales 1 --no_flip --base_size 128" in done.stdout


def test_killed_run_goes_on(city, weights, tmp_path, capfd, monkeypatch):
    argv = arguments(weights, city, tmp_path, "test")

    def kill(*arguments, **options) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("engine.evaluation.run.write_submission", kill)
        assert evaluation.main(argv) == 130
    lost, *kept = sorted((tmp_path / "pred").iterdir())
    lost.unlink()
    times = [path.stat().st_mtime_ns for path in kept]
    assert evaluation.main([*argv, "--resume", "--submission", str(tmp_path / "other.zip")]) == 0
    assert f"{SCENES - 1} of {SCENES} images are finished" in capfd.readouterr().out
    assert [path.stat().st_mtime_ns for path in kept] == times
    assert len(zipfile.ZipFile(tmp_path / "other.zip").namelist()) == SCENES


def test_refused(city, weights, tmp_path, capfd):
    def fails(code: int, *words: str, more: tuple = ()) -> None:
        assert evaluation.main([*arguments(weights, city, tmp_path, "test"), *more]) == code
        error = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
        assert len(error) == 1 and all(word in error[0] for word in words), error
        assert not (tmp_path / "submission.zip").exists()

    fails(2, "--submission", "--split_count", "part", more=("--split_count", "2"))
    fails(2, "--submission", "--test_mode", more=("--test_mode",))
    fails(2, "--submission", "FILE.zip", more=("--submission", str(tmp_path / "out")))
    fails(2, "--submission", "predictions", more=("--submission", str(tmp_path / "pred" / "s.zip")))
    (tmp_path / "folder.zip").mkdir()
    fails(2, "--submission", "folder", more=("--submission", str(tmp_path / "folder.zip")))
    fails(3, "tannwald_000000_000019", "2048x1024", "--max_pixels 1000000", more=("--max_pixels", "1000000"))
    (tmp_path / "submission.zip").write_bytes(b"of an earlier run")
    fails(4, "none.pth", more=("--snapshot", str(tmp_path / "none.pth")))
    assert (tmp_path / "earlier" / "1" / "submission.zip").read_bytes() == b"of an earlier run"
    fails(3, "--data_root", more=("--data_root", str(tmp_path / "none")))
    (tmp_path / "submission.zip").write_bytes(b"of a later run")
    state = torch.load(weights, weights_only=True)
    state = {name: torch.zeros_like(value) for name, value in state.items()}
    torch.save(state, tmp_path / "zero.pth")  # scores that are equal everywhere
    fails(3, "3 constant", "3 all the same", more=("--snapshot", str(tmp_path / "zero.pth")))
    assert (tmp_path / "earlier" / "2" / "submission.zip").read_bytes() == b"of a later run"
    (tmp_path / "pred" / "old.png").touch()
    fails(3, "1 not of split test (old.png)")
