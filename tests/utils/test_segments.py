"""Scores by size of segment, against segments that are flood-filled one by one."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.utils.test_trimap import blocky
from utils.metrics.confusion import confusion_matrix
from utils.metrics.segments import SEGMENT_SIDES, segment_counts

IGNORE = 255


def flood(mask: np.ndarray) -> list[set[tuple[int, int]]]:
    """The 8-connected pieces of a mask, as sets of pixels."""
    left, pieces = {(int(y), int(x)) for y, x in np.argwhere(mask)}, []
    while left:
        piece, edge = set(), {min(left)}
        while edge:
            piece |= edge
            left -= edge
            edge = {(y + i, x + j) for y, x in edge for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
        pieces.append(piece)
    return pieces


def size_bin(area: int) -> int:
    return sum(area >= side**2 for side in SEGMENT_SIDES)


def slow_counts(predicted: np.ndarray, true: np.ndarray, classes: int) -> np.ndarray:
    counts = np.zeros((4, classes, len(SEGMENT_SIDES) + 1), int)
    for c in range(classes):
        hit = {(int(y), int(x)) for y, x in np.argwhere((true == c) & (predicted == c))}
        segments = flood(true == c)
        for segment in segments:
            counts[:3, c, size_bin(len(segment))] += 1, len(segment), len(segment & hit)
        for guess in flood((predicted == c) & (true != IGNORE)):
            covered = [(len(guess & segment), -len(segment)) for segment in segments if guess & segment]
            area = -max(covered)[1] if covered else len(guess)
            counts[3, c, size_bin(area)] += len(guess - hit)
    return counts


@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(st.integers(1, 45), st.integers(1, 45)),
    classes=st.integers(1, 5),
    block=st.integers(3, 20),
    ignored=st.sampled_from([0, 0.2, 1]),
)
def test_counts_are_those_of_a_slow_search_and_add_up_to_the_confusion_matrix(seed, size, classes, block, ignored):
    rng = np.random.default_rng(seed)
    true = blocky(rng, *size, classes, block, ignored)
    predicted = np.roll(true, rng.integers(0, 5, 2), (0, 1))
    flipped = (predicted == IGNORE) | (rng.random(true.shape) < 0.05)
    predicted[flipped] = rng.integers(0, classes, int(flipped.sum()))
    found = segment_counts(predicted, true, classes, IGNORE)
    assert found.tolist() == slow_counts(predicted, true, classes).tolist()
    matrix = confusion_matrix(predicted, true, classes, IGNORE)
    hits = matrix.diagonal()
    assert found[1:].sum(axis=2).tolist() == [matrix.sum(1).tolist(), hits.tolist(), (matrix.sum(0) - hits).tolist()]


def test_false_positives_belong_to_the_segment_that_is_covered_most():
    true = np.zeros((100, 200), np.uint8)
    true[10:20, 10:20] = 1  # 100 pixels: the first bin
    true[10:60, 100:150] = 1  # 2500: the third
    predicted = true.copy()
    predicted[10:20, 20:30] = 1  # overhang of the small one
    predicted[80:98, 100:118] = 1  # 324 pixels that cover nothing: the second
    _, pixels, hits, false = segment_counts(predicted, true, 2, IGNORE)[:, 1]
    assert pixels.tolist() == hits.tolist() == [100, 0, 2500, 0, 0, 0]
    assert false.tolist() == [100, 324, 0, 0, 0, 0]


def test_one_prediction_over_two_segments_is_charged_to_the_larger_overlap_and_ties_to_the_smaller():
    true = np.zeros((30, 90), np.uint8)
    true[5:10, 5:10], true[0:30, 40:80] = 1, 1
    predicted = np.zeros_like(true)
    predicted[5:10, 5:45] = 1  # 25 pixels of each
    assert segment_counts(predicted, true, 2, IGNORE)[3, 1].tolist() == [150, 0, 0, 0, 0, 0]
    predicted[5:10, 45] = 1
    assert segment_counts(predicted, true, 2, IGNORE)[3, 1].tolist() == [0, 0, 150, 0, 0, 0]
