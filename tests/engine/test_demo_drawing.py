"""Pictures of a prediction: sizes, colours, which classes a legend names."""

import numpy as np
import pytest

from datasets.base import ClassTable
from engine.demo.drawing import Drawing

TABLE = ClassTable(("a", "b", "c"), ((250, 10, 10), (10, 250, 10), (10, 10, 250)), (7, 8, 9), {7: 0, 8: 1, 9: 2})
IMAGE = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
LABELS = np.zeros((48, 64), np.uint8)
LABELS[:, 40:] = 2


def has(picture: np.ndarray, color: tuple) -> bool:
    return bool((picture == color).all(axis=2).any())


@pytest.mark.parametrize("opacity", [0.0, 0.3, 1.0])
def test_opacity_blends(opacity):
    expected = (1 - opacity) * IMAGE + opacity * TABLE.colorize(LABELS)
    np.testing.assert_allclose(Drawing(TABLE, opacity).overlay(IMAGE, LABELS), expected, atol=1)


def test_side_by_side_starts_with_the_image():
    picture = Drawing(TABLE, side_by_side=True).overlay(IMAGE, LABELS)
    assert (picture[:, :64] == IMAGE).all()
    assert (picture[:, -64:] == Drawing(TABLE).overlay(IMAGE, LABELS)).all()


def test_a_legend_names_the_classes_that_occur_and_hides_nothing():
    plain = Drawing(TABLE, 0).overlay(IMAGE, LABELS)
    picture = Drawing(TABLE, 0, legend=True).overlay(IMAGE, LABELS)
    assert (picture[:48, :64] == plain).all()
    assert [has(picture[48:], color) for color in TABLE.palette] == [True, False, True]


def test_a_steady_legend_has_one_size_for_all_frames():
    drawing = Drawing(TABLE, legend=True)
    frames = [drawing.overlay(IMAGE, np.full((48, 64), i, np.uint8), steady=True) for i in range(3)]
    assert len({frame.shape for frame in frames}) == 1
    for i, frame in enumerate(frames):
        assert [has(frame[48:], color) for color in TABLE.palette] == [i == 0, i == 1, i == 2]
