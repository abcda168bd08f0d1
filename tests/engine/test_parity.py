import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.export.parity import Parity, check, compare
from utils.errors import CheckpointError

NAMES = ["a", "b"]


def test_compare_counts_pixels_and_scores():
    images = [np.full((2, 3, 3), value, np.uint8) for value in (0, 1)]
    truth = np.array([[0, 0, 1], [1, 255, 255]], np.uint8)
    original = lambda image: np.where(truth == 255, 0, truth)  # noqa: E731
    exported = lambda image: np.zeros((2, 3), np.uint8) if image.max() else original(image)  # noqa: E731
    parity = compare(original, exported, [(image, truth) for image in images], NAMES, 255)
    assert parity.images == 2 and parity.agreement == pytest.approx(10 / 12)
    # of 8 labelled pixels the exported model takes two of class 1 for class 0
    assert parity.mean_iou == 1 and parity.exported_mean_iou == pytest.approx((4 / 6 + 2 / 4) / 2)
    unlabelled = compare(original, exported, [(image, None) for image in images], NAMES, 255)
    assert unlabelled.agreement == parity.agreement and unlabelled.mean_iou is None
    assert "mean IoU" in str(parity) and "mean IoU" not in str(unlabelled)


def test_labels_that_are_all_void_give_no_score():
    predict = lambda image: np.zeros((2, 2), np.uint8)  # noqa: E731
    void = np.full((2, 2), 255, np.uint8)
    parity = compare(predict, predict, [(np.zeros((2, 2, 3), np.uint8), void)], NAMES, 255)
    assert parity.agreement == 1 and parity.mean_iou is None
    check(parity, 1.0, 0.0)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_what_is_kept_is_alike(agreement, mean_iou, exported):
    parity = Parity(1, agreement, mean_iou, exported)
    alike = agreement >= 0.9 and mean_iou - exported <= 0.01
    if alike:
        check(parity, 0.9, 0.01)
    else:
        with pytest.raises(CheckpointError, match="no file is kept"):
            check(parity, 0.9, 0.01)
