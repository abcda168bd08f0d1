"""Intervals, false alarms and power of studies, by simulation; the t distribution and the blocks by what is known."""

import math

import numpy as np
import pytest

from scripts.studies.blocks import image_blocks
from scripts.studies.statistics import Difference, Sample, compare, holm, samples_of
from scripts.studies.t_distribution import t_cdf, t_quantile, two_sided_p

FRAMES, BLOCK, PIXELS = 240, 20, 10_000
IMAGE_NOISE = (
    0.03  # standard deviation of a variant's score on one image, in stretches of frames that resemble each other
)
NOISE_OF_MEAN = IMAGE_NOISE / math.sqrt(FRAMES / BLOCK)  # about, of its mean over the images


def simulate(rng, variants: int, seeds: int, seed_noise: float, gain: float = 0.0) -> np.ndarray:
    """Counts (V,R,N,2,2) of a study; all variants but the first are better by `gain` on the images of the world."""
    stretches = rng.normal(0, IMAGE_NOISE, (variants, FRAMES // BLOCK)).repeat(BLOCK, 1)
    images = stretches + rng.normal(0, IMAGE_NOISE / 2, (variants, FRAMES))
    runs = rng.normal(0, seed_noise, (variants, seeds, 1)) + rng.normal(0, 0.02, (variants, seeds, FRAMES))
    score = 0.7 + runs + images[:, None] + gain * (np.arange(variants) > 0)[:, None, None]
    score = np.stack([score, score - 0.2], -1)  # two classes
    return np.stack([(score * PIXELS).astype(np.int64), np.full(score.shape, PIXELS)], -1)


def study(rng, resamples: int, **world) -> list[Difference]:
    """The comparisons of a simulated study."""
    blocks = np.arange(FRAMES) // BLOCK
    means = [samples_of(counts, blocks, resamples)[-1] for counts in simulate(rng, **world)]
    return [compare(means[0], other, FRAMES // BLOCK) for other in means[1:]]


def check_coverage(seeds: int, ratio: float, studies: int, resamples: int) -> None:
    """Coverage of the intervals and false alarms of the studies, where there is no difference."""
    rng = np.random.default_rng(round(seeds * 100 + ratio * 10))
    noise = ratio * NOISE_OF_MEAN
    found = [study(rng, resamples, variants=4, seeds=seeds, seed_noise=noise) for _ in range(studies)]
    covered = np.mean([one.interval()[0] <= 0 <= one.interval()[1] for rows in found for one in rows])
    alarms = np.mean([min(holm([one.p_value for one in rows])) < 0.05 for rows in found])
    assert 0.92 <= covered <= 0.99, (seeds, ratio, covered)
    assert alarms <= 0.06, (seeds, ratio, alarms)


@pytest.mark.parametrize("seeds", [3, 5, 8])
def test_intervals_cover_and_studies_give_no_false_alarms(seeds):
    for ratio in (0.5, 1.0, 2.0):
        check_coverage(seeds, ratio, studies=60, resamples=200)


@pytest.mark.slow
@pytest.mark.parametrize("ratio", [0.25, 0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("seeds", [3, 5, 8])
def test_intervals_cover_in_many_studies(seeds, ratio):
    check_coverage(seeds, ratio, studies=2000, resamples=500)


@pytest.mark.slow
def test_single_images_of_a_drive_would_claim_too_much():
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(500):
        counts = simulate(rng, variants=2, seeds=5, seed_noise=0.5 * NOISE_OF_MEAN)
        first, second = (samples_of(one, np.arange(FRAMES), 500)[-1] for one in counts)
        low, high = compare(first, second, FRAMES).interval()
        covered.append(low <= 0 <= high)
    assert np.mean(covered) < 0.75


def test_a_visible_difference_is_seen_four_times_in_five():
    rng, gain = np.random.default_rng(1), 0.04
    world = {"variants": 2, "seeds": 5, "seed_noise": NOISE_OF_MEAN}
    visible = np.median([study(rng, 200, **world)[0].visible(1) for _ in range(50)])
    seen = [study(rng, 200, **world, gain=visible)[0] for _ in range(200)]
    assert 0.7 <= np.mean([one.p_value < 0.05 for one in seen]) <= 0.9
    assert abs(np.mean([one.estimate for one in seen]) - visible) < 0.2 * gain
