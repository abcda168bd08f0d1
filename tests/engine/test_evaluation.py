"""Scoring a predictor: what is counted on each image, and how it adds up."""

import math
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from engine.evaluation.boundary import BoundaryFScore, BoundaryIou
from engine.evaluation.per_image import ImageResult
from engine.evaluation.scoring import Evaluation, check_labelled, evaluate
from engine.inference.batch import LABELS, BatchPredictor
from engine.inference.predictor import build_predictor
from utils.errors import DataError, NumericsError
from utils.metrics.boundary import boundary_f_score, boundary_iou_counts
from utils.metrics.confusion import confusion_matrix

CPU = torch.device("cpu")
CLASSES, IGNORE = 4, 255


def predict(images: torch.Tensor) -> torch.Tensor:
    """Probabilities (N,4,H,W) from the three channels of an image."""
    return torch.cat([images, images.mean(1, keepdim=True)], dim=1).softmax(dim=1)


def make_batches(sizes: list[int], height: int = 20, width: int = 27) -> list[dict]:
    """Batches of random images; every third label is void, and class 3 is in none."""
    generator, batches, index = torch.Generator().manual_seed(0), [], 0
    for size in sizes:
        label = torch.randint(0, 3, (size, height, width), generator=generator)
        label[:, :3] = IGNORE
        indices = torch.arange(index, index + size)
        label[indices % 3 == 1] = IGNORE
        image = torch.randn(size, 3, height, width, generator=generator)
        batches.append({"image": image, "label": label, "index": indices, "name": [f"n{i}" for i in indices.tolist()]})
        index += size
    return batches


def run(batches: list[dict], **options) -> Evaluation:
    return evaluate(BatchPredictor(predict, CPU), batches, CLASSES, **options)


def test_every_image_is_counted_by_itself():
    batches = make_batches([2, 1, 3])
    evaluation = run(batches)
    assert [image.name for image in evaluation.images] == [f"n{i}" for i in range(6)]
    total, loss, labelled = np.zeros((CLASSES, CLASSES), np.int64), 0.0, 0
    maps = [(p, t) for batch in batches for p, t in zip(predict(batch["image"]), batch["label"], strict=True)]
    for image, (scores, label) in zip(evaluation.images, maps, strict=True):
        expected = confusion_matrix(scores.argmax(0), label, CLASSES, IGNORE).numpy()
        assert np.array_equal(image.confusion, expected) and image.confusion.dtype == np.int64
        union = expected.sum(0) + expected.sum(1) - np.diag(expected)
        assert image.iou_counts.tolist() == np.column_stack([np.diag(expected), union]).tolist()
        valid = label != IGNORE
        assert image.labelled == valid.sum() == expected.sum()
        nll = -scores.double().log().gather(0, torch.where(valid, label, 0)[None])[0][valid].sum()
        assert image.nll == pytest.approx(float(nll), rel=1e-6)
        total, loss, labelled = total + expected, loss + float(nll), labelled + int(valid.sum())
    assert evaluation.confusion.tolist() == total.tolist() and evaluation.confusion.dtype == torch.int64
    assert evaluation.loss == pytest.approx(loss / labelled, rel=1e-6)
    assert evaluation.num_images == 6


@pytest.mark.parametrize("size", [1.0, 100.0])  # 100: of sure and wrong scores, whose softmax is 0
def test_loss_of_merged_logits_is_their_cross_entropy(size):
    def model(x: torch.Tensor) -> dict:
        return {"logits": F.avg_pool2d(size * torch.cat([x, x.mean(1, keepdim=True)], dim=1), 2, ceil_mode=True)}

    predictor = build_predictor(model, "sliding", crop_size=16, scales=(0.5, 1.0), flip=True, merge="logit")
    batches = make_batches([2, 3])
    label = torch.cat([batch["label"] for batch in batches])
    logits = torch.cat([predictor(batch["image"]) for batch in batches]).double()
    expected = F.cross_entropy(logits, label, ignore_index=IGNORE).item()
    loss = evaluate(BatchPredictor(predictor, CPU, merge="logit"), batches, CLASSES).loss
    assert loss == pytest.approx(expected, rel=1e-5)


def test_labels_alone_have_no_loss():
    evaluation = evaluate(BatchPredictor(predict, CPU, merge=LABELS), make_batches([2]), CLASSES)
    assert math.isnan(evaluation.loss) and torch.equal(evaluation.confusion, run(make_batches([2])).confusion)


def test_order_of_the_batches_changes_nothing():
    batches = make_batches([1] * 7)
    metrics = [BoundaryFScore(CLASSES, [0.02, 0.05]), BoundaryIou(CLASSES)]
    first, second = run(batches, metrics=metrics), run(batches[::-1], metrics=metrics)
    assert torch.equal(first.confusion, second.confusion)
    assert first.loss == second.loss
    for name in ("boundary_f_sum", "boundary_f_images", "boundary_iou"):
        assert np.array_equal(first.total(name), second.total(name))


def test_boundary_scores_are_means_over_images_and_pixels():
    batches, thresholds, names = make_batches([1] * 5), [0.02, 0.05], ["a", "b", "c", "absent"]
    f_score, boundary_iou = BoundaryFScore(CLASSES, thresholds), BoundaryIou(CLASSES)
    evaluation = run(batches, metrics=[f_score, boundary_iou])
    maps = [(predict(batch["image"])[0].argmax(0), batch["label"][0]) for batch in batches]
    for threshold in thresholds:
        each = np.stack([boundary_f_score(p, t, CLASSES, threshold, IGNORE) for p, t in maps])
        assert np.isnan(each).any(0).all()  # in the void images
        found = f_score.average(evaluation, names)[str(threshold)]
        assert found["per_class"].pop("absent") is None
        assert list(found["per_class"].values()) == pytest.approx(np.nanmean(each[:, :3], 0).tolist())
        assert found["mean_f"] == pytest.approx(np.nanmean(each[:, :3], 0).mean())
    counts = sum(boundary_iou_counts(p, t, CLASSES, IGNORE) for p, t in maps)[:3]
    found = boundary_iou.average(evaluation, names)
    assert found["per_class"].pop("absent") is None
    assert list(found["per_class"].values()) == pytest.approx((counts[:, 0] / counts[:, 1]).tolist())


def test_images_are_written_before_their_result_is_kept():
    seen = []
    run(
        make_batches([2, 1]),
        writer=SimpleNamespace(write=lambda batch, labels: seen.append((batch["name"], tuple(labels.shape)))),
        journal=SimpleNamespace(add=lambda image: seen.append(image.name)),
    )
    assert seen == [(["n0", "n1"], (2, 20, 27)), "n0", "n1", (["n2"], (1, 20, 27)), "n2"]


def test_finished_images_are_joined_in_the_order_of_the_split():
    batches = make_batches([1] * 5)
    whole = run(batches)
    finished = [whole.images[3], whole.images[0]]
    rest = run([batches[i] for i in (1, 2, 4)], finished=finished)
    assert [image.index for image in rest.images] == [0, 1, 2, 3, 4]
    assert torch.equal(rest.confusion, whole.confusion) and rest.loss == whole.loss


def test_without_labels_nothing_is_counted():
    batches = make_batches([2, 1])
    for batch in batches:
        del batch["label"]
    evaluation = run(batches)
    assert evaluation.num_images == 3 and not evaluation.confusion.any() and math.isnan(evaluation.loss)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_score_that_is_not_finite_names_the_image(value):
    batches = make_batches([1] * 3)
    batches[1]["image"][0, 0, 4, 5] = value
    kept = []
    with pytest.raises(NumericsError, match="scores of n1 are not finite"):
        run(batches, journal=SimpleNamespace(add=lambda image: kept.append(image.name)))
    assert kept == ["n0"]


def test_many_classes_stay_small():
    matrix = np.zeros((1000, 1000), np.int64)
    matrix[7, 999], matrix[0, 0] = 2**40, 3
    image = ImageResult.from_matrix(0, "n", matrix, 0.0, {})
    assert image.indices.nbytes + image.counts.nbytes == 24
    assert np.array_equal(image.confusion, matrix)
    assert Evaluation([image] * 3, 1000).confusion[7, 999] == 3 * 2**40


class FewLabels:
    """A split of label maps."""

    dataset, split = "camvid", "test"

    def __init__(self, labels: list) -> None:
        self.labels = labels

    def load_label(self, index: int) -> np.ndarray:
        return np.array([[IGNORE, self.labels[index]]], np.uint8)


def test_labels_that_are_all_void_are_refused():
    check_labelled(FewLabels([IGNORE, IGNORE, 0]), range(3))
    with pytest.raises(DataError, match="--split test: every pixel of the 2 labels of camvid is void"):
        check_labelled(FewLabels([IGNORE, IGNORE, 0]), range(2))


def test_images_are_measured_while_the_next_ones_are_predicted():
    batches, main, measured_on = make_batches([1] * 4), threading.get_ident(), []
    second_predicted = threading.Event()

    def slow(prediction: np.ndarray, label: np.ndarray) -> dict:
        measured_on.append(threading.get_ident())
        assert second_predicted.wait(60)  # for ever on one thread
        return {"pixels": np.array(label.size)}

    def loader():
        yield batches[0]
        yield batches[1]
        second_predicted.set()
        yield from batches[2:]

    evaluation = evaluate(BatchPredictor(predict, CPU), loader(), CLASSES, metrics=[slow])
    assert main not in measured_on and [image.name for image in evaluation.images] == ["n0", "n1", "n2", "n3"]
    assert evaluation.total("pixels") == 4 * 20 * 27


def test_a_fault_of_a_metric_is_raised():
    def broken(prediction: np.ndarray, label: np.ndarray) -> dict:
        raise DataError("odd")

    with pytest.raises(DataError, match="odd"):
        run(make_batches([1] * 4), metrics=[broken])
