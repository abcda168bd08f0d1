"""Trimap bands against windows looked at pixel by pixel."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from utils.metrics.trimap import TRIMAP_WIDTHS, trimap_counts

IGNORE = 255


def blocky(rng: np.random.Generator, height: int, width: int, classes: int, block: int, ignored: float) -> np.ndarray:
    """A label map of blocks, some of them ignored."""
    blocks = rng.integers(0, classes, (height // block + 1, width // block + 1))
    blocks[rng.random(blocks.shape) < ignored] = IGNORE
    return np.kron(blocks, np.ones((block, block), int))[:height, :width].astype(np.uint8)


def slow_trimap(predicted: np.ndarray, true: np.ndarray, classes: int, width: int) -> np.ndarray:
    pixels, hits, false = np.zeros((3, classes), int)
    for y, x in np.argwhere(true != IGNORE):
        around = true[max(0, y - width) : y + width + 1, max(0, x - width) : x + width + 1]
        if set(around.ravel().tolist()) - {IGNORE, int(true[y, x])}:
            pixels[true[y, x]] += 1
            if predicted[y, x] == true[y, x]:
                hits[true[y, x]] += 1
            else:
                false[predicted[y, x]] += 1
    return np.stack([pixels, hits, false])


@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(st.integers(1, 23), st.integers(1, 23)),
    classes=st.integers(1, 4),
    block=st.integers(1, 9),
    ignored=st.sampled_from([0, 0.3, 1]),
)
def test_bands_are_those_of_a_slow_search(seed, size, classes, block, ignored):
    rng = np.random.default_rng(seed)
    true = blocky(rng, *size, classes, block, ignored)
    predicted = rng.integers(0, classes, size).astype(np.uint8)
    found = trimap_counts(predicted, true, classes, IGNORE)
    for i in (0, 1, 3):
        assert found[:, :, i].tolist() == slow_trimap(predicted, true, classes, TRIMAP_WIDTHS[i]).tolist()
    assert (np.diff(found, axis=2) >= 0).all()  # a band holds the narrower ones


def test_straight_edge_has_as_many_pixels_on_each_side_as_the_band_is_wide():
    true = np.zeros((10, 100), np.uint8)
    true[:, 50:] = 1
    found = trimap_counts(true, true, 2, IGNORE)
    widths = [[10 * w for w in TRIMAP_WIDTHS]] * 2
    assert found.tolist() == [widths, widths, [[0] * 6] * 2]


def test_void_strip_makes_no_boundary_and_hides_none():
    true = np.zeros((4, 40), np.uint8)
    true[:, 20:23] = IGNORE
    assert not trimap_counts(np.zeros_like(true), true, 2, IGNORE).any()
    true[:, 23:] = 1
    found = trimap_counts(np.zeros_like(true), true, 2, IGNORE)
    assert (found[0].sum(axis=0) // 4).tolist() == [0, 0, 2, 10, 26, 37]
