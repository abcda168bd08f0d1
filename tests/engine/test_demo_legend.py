"""The legend: each name has its colour beside it, nothing is cut off, places are steady."""

from unittest.mock import Mock

import numpy as np
import pytest

from engine.demo.legend import add_caption, draw_legend, stack
from utils import fonts

NAMES = ("road", "traffic light", "motorcycle")
COLORS = ((128, 64, 128), (250, 170, 30), (0, 0, 230))


def places(picture: np.ndarray, color: tuple) -> np.ndarray:
    return np.argwhere((picture == color).all(axis=2))


@pytest.mark.parametrize("width", [1, 64, 300, 2048])
def test_every_class_has_a_square_of_its_colour(width):
    legend = draw_legend(width, NAMES, COLORS)
    assert legend.dtype == np.uint8 and legend.shape[1] >= width
    for color in COLORS:
        top, left = (found := places(legend, color)).min(axis=0)
        bottom, right = found.max(axis=0)
        assert bottom - top == right - left >= 9
    margin = (legend[:, -1] == 255).all() and (legend[-1] == 255).all()
    assert margin, "something reaches the edge"


def test_letters_are_dark_and_right_of_the_square():
    legend = draw_legend(200, ["road"], [(128, 64, 128)])
    right = places(legend, (128, 64, 128)).max(axis=0)[1]
    assert (legend[:, right + 2 :].max(axis=2) < 60).sum() > 20


def test_absent_classes_leave_their_place_empty():
    everything = draw_legend(400, NAMES, COLORS)
    some = draw_legend(400, NAMES, COLORS, [True, False, True])
    assert some.shape == everything.shape
    assert not len(places(some, COLORS[1]))
    for color in (COLORS[0], COLORS[2]):
        assert places(some, color).tolist() == places(everything, color).tolist()


def test_no_class_at_all():
    assert (draw_legend(100, [], []) == 255).all()


def test_stacking_fills_up_with_white():
    above, below = np.zeros((2, 3, 3), np.uint8), np.full((1, 5, 3), 7, np.uint8)
    for upper, lower in ((above, below), (below, above)):
        both = stack(upper, lower)
        assert both.shape == (3, 5, 3)
        assert (both[: len(upper), : upper.shape[1]] == upper).all() and (both[-1, : lower.shape[1]] == lower[-1]).all()
    assert (stack(above, below)[:2, 3:] == 255).all()


@pytest.mark.parametrize("size", [(1, 1), (20, 30), (480, 640)])
def test_a_caption_is_drawn_on_a_copy_and_stays_in_the_corner(size):
    picture = np.full((*size, 3), 90, np.uint8)
    captioned = add_caption(picture, "12.3 fps")
    assert captioned.shape == picture.shape and (picture == 90).all() and captioned[0, 0].tolist() == [0, 0, 0]
    if size == (480, 640):
        assert captioned.max() == 255 and (captioned[30:] == 90).all() and (captioned[:, 200:] == 90).all()


def test_letters_that_no_font_has_are_said_once(monkeypatch):
    log = Mock()
    monkeypatch.setattr(fonts, "INSTALLED", ())
    monkeypatch.setattr(fonts, "get_logger", lambda: log)
    for turn in range(2):
        font = fonts.load_font(12, ["road", "汽车"][:: 1 - 2 * turn])
        assert font.getname() == fonts.load_font(12, ["road"]).getname()
    log.warning.assert_called_once_with("no installed font has '汽车': pictures show boxes in their place")


def test_other_letters_are_drawn_where_a_font_has_them():
    if not fonts._installed(frozenset("ß")):
        pytest.skip("no font is installed")
    legend, boxes = (draw_legend(200, [name], [(128, 64, 128)]) for name in ("ß", "\uffff"))
    assert not np.array_equal(legend[:, :40], boxes[:, :40])


def test_names_of_several_lines_are_drawn_in_one():
    legend = draw_legend(200, ["ü", "a\rb\n"], [(128, 64, 128), (0, 0, 9)])
    assert np.array_equal(legend, draw_legend(200, ["ü", "a\\rb\\n"], [(128, 64, 128), (0, 0, 9)]))
    assert add_caption(np.zeros((64, 64, 3), np.uint8), "ü\n").any()
