"""How sure a model is: maps, what is counted of them, temperature, and that it never changes a label."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import demo_folder
import eval
from engine.checkpoint.fields import check_fields
from engine.checkpoint.finetune import start_from
from engine.checkpoint.snapshot import load_snapshot, save_snapshot
from engine.evaluation.confidence import ConfidenceMaps
from engine.evaluation.confidence_scores import certainty_scores, confidence_result
from engine.evaluation.scoring import evaluate
from engine.evaluation.temperature import ScoreSample, fit_temperature, sampled_error
from engine.inference.batch import BatchPredictor
from engine.inference.certainty import label_confidence, temper_
from engine.inference.predictor import build_predictor
from engine.inference.segmenter import Segmenter
from engine.training.resume import find_checkpoint
from network import build_model
from tests.conftest import eval_args
from tests.engine.test_evaluation import CLASSES, CPU, IGNORE, make_batches
from utils.errors import CheckpointError, DataError

MANY = {"scales": (0.75, 1.0, 1.5), "flip": True}


def model(x: torch.Tensor) -> dict:
    """Logits at half size that no mirror image and no other scale share."""
    ramp = torch.linspace(0, 1, x.shape[-1])
    return {"logits": F.avg_pool2d(torch.cat([3 * x, (x * ramp).mean(1, keepdim=True)], dim=1), 2, ceil_mode=True)}


def calibrated(source: Path, path: Path, temperature: float) -> Path:
    save_snapshot(path, {**load_snapshot(source), "temperature": temperature})
    return path


@pytest.mark.parametrize("merge", ["prob", "logit"])
def test_confidence_is_the_tempered_probability_of_the_label(merge):
    scores = build_predictor(model, merge=merge, **MANY)(make_batches([2])[0]["image"])
    wide = scores.double()
    p = wide.softmax(1) if merge == "logit" else wide / wide.sum(1, keepdim=True)
    p = p ** (1 / 1.7)
    expected = (p / p.sum(1, keepdim=True)).gather(1, scores.argmax(1, keepdim=True))[:, 0]
    found = label_confidence(temper_(scores.clone(), merge, 1.7), merge)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode, flip", [("whole", True), ("sliding", False)])
def test_counts_are_those_of_a_loop_over_pixels(mode, flip, tmp_path):
    batches, options = make_batches([2, 1]), {"mode": mode, "crop_size": 64}  # windows that don't overlap
    predictor = build_predictor(model, **options, scales=MANY["scales"], flip=flip)
    maps = ConfidenceMaps(tmp_path, (0, 0, 0), (1, 1, 1), predictor.settings.passes)
    evaluation = evaluate(BatchPredictor(predictor, CPU, temperature=1.5), batches, CLASSES, confidence=maps)
    single = [build_predictor(model, **options, scales=(s,)) for s in MANY["scales"]]
    pixels = 0
    for batch in batches:
        p = predictor(batch["image"]).double() ** (1 / 1.5)
        confidence, labels = (p / p.sum(1, keepdim=True)).max(1)
        passes = [q(batch["image"]).argmax(1) for q in single]
        passes += [q(batch["image"].flip(-1)).argmax(1).flip(-1) for q in single if flip]
        agreement = torch.stack([each == labels for each in passes]).double().mean(0)
        for i, index in enumerate(batch["index"].tolist()):
            measures, valid = evaluation.images[index].measures, batch["label"][i] != IGNORE
            right = (labels[i] == batch["label"][i])[valid]
            bins = (confidence[i][valid] * 15).long().clamp_max(14)
            assert measures["confidence_bins"].sum(1).tolist() == [int(valid.sum()), int(right.sum())]
            sums = [float(confidence[i][valid][bins == b].sum()) for b in range(15)]
            assert measures["confidence_sums"].tolist() == pytest.approx(sums, rel=1e-5, abs=1.0)  # a pixel at an edge
            # scores and labels meet at the images' size here, those of a pass at its own: at edges they may differ
            assert measures["agreement_sums"].sum() == pytest.approx(float(agreement[i][valid].sum()), rel=0.03)
            levels = np.array(Image.open(tmp_path / "confidence" / f"n{index}.png"))
            assert np.abs(levels - confidence[i].numpy() * 65535).max() < 1.5 and levels.dtype == np.uint16
            pixels += int(valid.sum())
    result = confidence_result(evaluation, 1.5, predictor.settings.passes, 20)
    assert sum(result["confidence"]["reliability"]["pixels"]) == pixels and result["agreement"]["passes"] == len(passes)
    one = evaluate(BatchPredictor(predictor, CPU), make_batches([1]), CLASSES, confidence=maps)
    assert certainty_scores(one, "confidence", 20)["intervals"] == {"ece": None, "aurc": None}


def test_fit_finds_the_temperature_that_labels_were_drawn_with():
    torch.manual_seed(0)
    logits = 3 * torch.randn(1, 4, 80, 100)
    label = torch.multinomial((logits / 2).softmax(1).permute(0, 2, 3, 1).reshape(-1, 4), 1).reshape(1, 80, 100)
    label[:, :20] = IGNORE
    sample = ScoreSample(1)
    sample.add(0, logits[0].softmax(0), label[0], "prob")
    parts = sample.parts()
    temperature = fit_temperature(*parts)
    wide, valid = logits[0].double(), label[0] != IGNORE
    grid = torch.arange(1.5, 2.5, 0.01).tolist()
    losses = [float(F.cross_entropy((wide / t)[:, valid].T, label[0][valid])) for t in grid]
    assert temperature == pytest.approx(grid[int(np.argmin(losses))], abs=0.01) == pytest.approx(2, abs=0.1)
    assert sampled_error(*parts, temperature) < 0.02 < sampled_error(*parts, 1.0)
    with pytest.raises(DataError, match="no mistakes"):
        fit_temperature(parts[0], parts[0].argmax(1), parts[2])


def test_sample_is_bounded_and_weighs_images_by_their_pixels(monkeypatch):
    monkeypatch.setattr("engine.evaluation.temperature.SAMPLED", 2 * 3 * 100)
    sample = ScoreSample(2)
    for index, height in enumerate((10, 40)):
        label = torch.zeros(height, 20, dtype=torch.uint8)
        label[0] = IGNORE
        sample.add(index, torch.randn(3, height, 20), label, "logit")
    scores, labels, weights = sample.parts()
    assert scores.shape == (200, 3) and (labels == 0).all()
    assert weights.sum() == pytest.approx(20 * (9 + 39))


def test_temperature_changes_probabilities_and_no_label(trained, tmp_path):
    results, figures = [], []
    for temperature in (1.0, 4.0):
        snapshot = calibrated(trained.best, tmp_path / "model.pth", temperature)
        out, more = tmp_path / str(temperature), ("--flip", "--scales", "0.5,1.0", "--bootstrap", "20", "--dump_images")
        argv = eval_args(snapshot, trained.data, out, "--confidence", *more)
        assert eval.main([*argv, "--report"] if temperature != 1 else argv) == 0
        found = json.loads((out / "metrics.json").read_text())
        assert found["confidence"]["temperature"] == temperature
        pictures = [path.read_bytes() for path in sorted((out / "pred").iterdir())]
        results.append((found["confusion_matrix"], pictures, found["agreement"]))
        figures.append((found["confidence"]["ece"], found["loss"]))
    assert "calibrated with temperature 4.0000" in (out / "report.html").read_text()
    assert results[0] == results[1]
    assert figures[0][0] != figures[1][0] and figures[0][1] != figures[1][1]


def test_resumed_evaluation_has_the_same_measures(trained, tmp_path):
    argv = eval_args(trained.best, trained.data, tmp_path, "--confidence", "--bootstrap", "9")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("engine.evaluation.run.EvaluationRun.finish", lambda *_: 1 / 0)
        assert eval.main(argv) != 0  # scores are written, and the journal of all images is left
    expected = json.loads((tmp_path / "metrics.json").read_text())
    picture = tmp_path / "uncertainty" / "000.png"
    picture.unlink()
    assert eval.main([*argv, "--resume"]) == 0
    assert json.loads((tmp_path / "metrics.json").read_text()) == expected and picture.is_file()


def test_one_image_has_no_interval_and_labels_alone_no_confidence(trained, tmp_path, capsys):
    argv = eval_args(trained.best, trained.data, tmp_path, "--confidence", "--split_count", "4")
    assert eval.main(argv) == 0
    found = json.loads((tmp_path / "part_0_of_4" / "metrics.json").read_text())
    assert found["confidence"]["intervals"] == {"ece": None, "aurc": None}
    assert "no intervals: fewer than two labelled images" in capsys.readouterr().out
    assert eval.main(eval_args(tmp_path / "model.onnx", trained.data, tmp_path, "--confidence")) == 2
    assert "--confidence" in capsys.readouterr().err


def test_the_releases_merging_gives_no_probabilities(trained, tmp_path, capsys):
    argv = eval_args(trained.best, trained.data, tmp_path, "--merge", "exp_softmax", "--test_mode")
    assert eval.main(argv) == 0
    assert json.loads((tmp_path / "metrics.json").read_text())["loss"] is None
    assert eval.main([*argv, "--confidence"]) == 2
    assert "--confidence --merge exp_softmax: gives no probabilities" in capsys.readouterr().err
    photos = ["--source", str(trained.data / "images" / "val"), "--snapshot", str(trained.best)]
    assert demo_folder.main([*photos, "--merge", "exp_softmax", "--confidence"]) == 2


def test_segmenter_and_demo_use_it(trained, tmp_path):
    snapshot = calibrated(trained.best, tmp_path / "model.pth", 3.0)
    photo = sorted((trained.data / "images" / "val").iterdir())[0]
    plain, warm = (Segmenter(path, "cpu", amp="off")(photo) for path in (trained.best, snapshot))
    p = plain.probabilities.astype(np.float64) ** (1 / 3)
    np.testing.assert_allclose(warm.probabilities, p / p.sum(0), atol=1e-5)
    np.testing.assert_array_equal(warm.labels, plain.labels)
    argv = ["--source", str(photo), "--snapshot", str(snapshot), "--save_dir", str(tmp_path), "--device", "cpu"]
    assert demo_folder.main([*argv, "--amp", "off", "--confidence"]) == 0
    levels = np.array(Image.open(tmp_path / f"confidence_{photo.stem}.png"))
    np.testing.assert_allclose(levels / 65535, warm.confidence, atol=2e-5)
    assert np.array(Image.open(tmp_path / f"uncertainty_{photo.stem}.png")).shape == (*levels.shape, 3)


def test_training_leaves_it_behind_and_says_so(trained, tmp_path, caplog):
    snapshot = calibrated(trained.best, tmp_path / "model.pth", 3.0)
    content = load_snapshot(snapshot)
    fresh = build_model(content["config"]["arch"], 4, **content["config"]["options"])
    with caplog.at_level("INFO"):
        start_from(fresh, snapshot, content["classes"]["names"])
        find_checkpoint(tmp_path, str(snapshot))
    assert caplog.text.count("temperature 3.0000 isn't taken over") == 2


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), "2", True])
def test_temperature_of_another_kind_is_refused(value):
    with pytest.raises(CheckpointError, match="temperature is not a positive number"):
        check_fields({"model": {"weight": torch.zeros(1)}, "temperature": value}, "model.pth")
