"""Our counts are those of the official Cityscapes evaluation, to the pixel."""

import numpy as np
import pytest
import torch
from PIL import Image

from datasets.cityscapes import CLASSES, build_split
from datasets.dataset import EvaluationDataset
from datasets.instances import InstanceFiles
from datasets.loader import build_eval_loader
from engine.evaluation.cityscapes_scores import cityscapes_scores
from engine.evaluation.prediction_files import PredictionWriter
from engine.evaluation.scoring import evaluate
from engine.inference.batch import BatchPredictor
from utils.constants import IGNORE_LABEL
from utils.metrics.confusion import compute_metrics, confusion_matrix

official = pytest.importorskip("cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling")
IDS = list(CLASSES.label_ids)
HEIGHT, WIDTH, IMAGES = 1024, 2048, 20


@pytest.fixture(autouse=True)
def settings(monkeypatch):
    """The official tool silent, without a result file, and able to run under NumPy 2.4."""
    for name, value in {"quiet": True, "JSONOutput": False, "evalInstLevelScore": True}.items():
        monkeypatch.setattr(official.args, name, value)
    monkeypatch.setattr(np, "in1d", np.isin, raising=False)


def save(path, array: np.ndarray) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, compress_level=1)
    return str(path)


def make_sample(root, index: int) -> str:
    """An image whose grey value is the class a predictor will see, labels of all 34 ids; returns the label's path."""
    rng = np.random.default_rng(index)
    labels, classes = (rng.integers(0, high, (HEIGHT // 64, WIDTH // 64)) for high in (34, len(IDS)))
    right = rng.random(labels.shape) < 0.7
    train_ids = CLASSES.to_train_ids(labels.astype(np.uint8), "labels")
    classes = np.where(right & (train_ids != IGNORE_LABEL), train_ids, classes)
    big = [np.kron(values, np.ones((64, 64))).astype(np.uint8) for values in (labels, np.roll(classes, 1))]
    big[1] = np.roll(big[1], -64 + index, axis=1)  # boundaries don't coincide
    city = ("ulm", "bonn")[index % 2]
    stem = f"{city}_{index:06d}_000019"
    numbered = 1000 * big[0].astype(np.uint16) + np.arange(WIDTH, dtype=np.uint16) // 100
    instances = np.where(big[0] >= 24, numbered, big[0])  # those of one number are one instance, in several places
    save(root / "gtFine" / "val" / city / f"{stem}_gtFine_instanceIds.png", instances.astype(np.uint16))
    save(root / "leftImg8bit" / "val" / city / f"{stem}_leftImg8bit.png", np.repeat(big[1][..., None], 3, axis=2))
    return save(root / "gtFine" / "val" / city / f"{stem}_gtFine_labelIds.png", big[0])


def to_sample(sample: dict, rng) -> dict:
    """Transform: the image's grey values as they are."""
    image, label = (torch.from_numpy(sample[key]) for key in ("image", "label"))
    return {"name": sample["name"], "image": image.permute(2, 0, 1), "label": label.long()}


def predict(images: torch.Tensor) -> torch.Tensor:
    """Scores (N,19,H,W) that are 1 for the class that the grey value names."""
    return torch.zeros(len(images), len(IDS), HEIGHT, WIDTH).scatter_(1, images[:, :1].long(), 1)


@pytest.mark.slow
def test_dumped_predictions_score_the_same(tmp_path):
    truth = [make_sample(tmp_path, index) for index in range(IMAGES)]
    split = build_split(tmp_path, "val")
    writer = PredictionWriter(tmp_path / "out", split, (0, 0, 0), (1, 1, 1))
    loader = build_eval_loader(EvaluationDataset(split, to_sample, InstanceFiles(split)), range(IMAGES))
    found = evaluate(BatchPredictor(predict, torch.device("cpu")), loader, len(IDS), writer=writer)

    names = [path.rsplit("/", 1)[1].removesuffix("_gtFine_labelIds.png") for path in truth]
    dumped = [str(tmp_path / "out" / "pred" / f"{name}.png") for name in names]
    result = official.evaluateImgLists(dumped, truth, official.args)
    matrix = np.array(result["confMatrix"])
    assert matrix.sum() == IMAGES * HEIGHT * WIDTH
    assert matrix[np.ix_(IDS, IDS)].tolist() == found.confusion.tolist()
    ours = compute_metrics(found.confusion, CLASSES.names)
    assert ours["mean_iou"] == pytest.approx(result["averageScoreClasses"], abs=1e-12)
    for name, row in ours["per_class"].items():
        assert row["iou"] == pytest.approx(result["classScores"][name], abs=1e-15)
    scores = cityscapes_scores(found.confusion.numpy(), found.total("instances"))
    for key, value in scores.items():
        first, *rest = key.split("_")
        expected = result[first + "".join(word.capitalize() for word in rest)]
        if isinstance(value, dict):  # the official tool has nan where there are no instances
            expected = {name: score for name, score in expected.items() if score == score}
        assert value == pytest.approx(expected, abs=1e-12), key


def test_random_label_maps_count_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(official.args, "evalInstLevelScore", False)
    for case in range(500):
        rng = np.random.default_rng(case)
        shape = rng.integers(1, 40, 2)
        some = rng.integers(0, 34, rng.integers(1, 35))  # the official tool knows no other ids, and doesn't check
        label = rng.choice(some, shape).astype(np.uint8)
        prediction = rng.integers(0, rng.integers(1, 20), shape).astype(np.uint8)
        files = save(tmp_path / "pred.png", CLASSES.to_label_ids(prediction)), save(tmp_path / "label.png", label)
        matrix = official.generateMatrix(official.args)
        official.evaluatePair(*files, matrix, {}, {}, official.args)
        ours = confusion_matrix(prediction, CLASSES.to_train_ids(label, "label"), len(IDS), IGNORE_LABEL)
        assert np.array_equal(ours, matrix[np.ix_(IDS, IDS)]), case
