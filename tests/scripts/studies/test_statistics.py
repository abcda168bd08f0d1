"""Intervals, false alarms and power of studies, by simulation; the t distribution and the blocks by what is known."""

import math

import numpy as np
import pytest

from scripts.studies.statistics.blocks import image_blocks
from scripts.studies.statistics.differences import Difference, Sample, compare, holm, samples_of
from scripts.studies.statistics.t_distribution import t_cdf, t_quantile, two_sided_p

FRAMES, BLOCK, PIXELS = 240, 20, 10_000
RATIOS = 0.5, 1.0, 2.0  # of seed noise to image noise
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


def simulate_studies(rng, seeds: int, ratio: float, studies: int, resamples: int) -> tuple[float, float]:
    """Coverage of the intervals, and the fraction of studies with a false alarm, where there is no difference."""
    noise = ratio * NOISE_OF_MEAN
    found = [study(rng, resamples, variants=4, seeds=seeds, seed_noise=noise) for _ in range(studies)]
    covered = np.mean([one.interval()[0] <= 0 <= one.interval()[1] for rows in found for one in rows])
    return covered, np.mean([min(holm([one.p_value for one in rows])) < 0.05 for rows in found])


def test_intervals_cover_and_studies_give_no_false_alarms():
    alarms = []
    for seeds in (3, 5, 8):
        streams = [(np.random.default_rng(round(100 * seeds + 10 * ratio)), ratio) for ratio in RATIOS]
        found = [simulate_studies(rng, seeds, ratio, studies=25, resamples=100) for rng, ratio in streams]
        covered, alarm = np.mean(found, 0)
        assert 0.92 <= covered <= 0.99, (seeds, covered)
        alarms.append(alarm)
    assert np.mean(alarms) <= 0.06


@pytest.mark.slow
@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("seeds", [3, 5, 8])
def test_intervals_cover_in_many_studies(seeds, ratio):
    covered, alarms = simulate_studies(np.random.default_rng(1), seeds, ratio, studies=2000, resamples=500)
    assert 0.92 <= covered <= 0.99 and alarms <= 0.06, (covered, alarms)


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
    rng = np.random.default_rng(1)
    world = {"variants": 2, "seeds": 5, "seed_noise": NOISE_OF_MEAN}
    visible = np.median([study(rng, 100, **world)[0].visible(1) for _ in range(30)])
    seen = [study(rng, 100, **world, gain=visible)[0] for _ in range(150)]
    assert 0.7 <= np.mean([one.p_value < 0.05 for one in seen]) <= 0.9
    assert abs(np.mean([one.estimate for one in seen]) / visible - 1) < 0.1


def test_the_t_distribution_is_the_known_one():
    known = {1: 12.706205, 2: 4.302653, 5: 2.570582, 30: 2.042272, math.inf: 1.959964}
    assert {df: round(t_quantile(0.975, df), 6) for df in known} == known
    assert round(t_quantile(0.8, 4), 6) == 0.940965 and t_quantile(0.2, 4) == -t_quantile(0.8, 4)
    for df in (0.7, 2.5, 11.3):  # the density by the trapezoid rule
        t = np.linspace(-1.5, 1.5, 20001)
        log = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - 0.5 * math.log(df * math.pi)
        inside = np.trapezoid(np.exp(log) * (1 + t * t / df) ** (-(df + 1) / 2), t)
        assert math.isclose(1 - two_sided_p(1.5, df), inside, rel_tol=1e-7)
        assert math.isclose(t_cdf(t_quantile(0.99, df), df), 0.99)


def test_frames_of_a_drive_are_drawn_in_stretches_and_all_else_alone():
    drive = [f"0006R0_f{frame:05d}" for frame in range(30, 30 * 51, 30)]
    rng = np.random.default_rng(0)
    shuffled = list(rng.permutation(drive))
    blocks, ordered = image_blocks([*shuffled, "0001TP_000030", "portrait"], "camvid")
    found = dict(zip(shuffled, blocks, strict=False))
    stretches = [found[name] for name in drive]
    assert ordered and stretches == sorted(stretches) and set(np.bincount(stretches)) == {25}  # 50 frames: 2 blocks
    assert len(set(blocks)) == 4
    for names, dataset in (
        (["000", "001", "002"], "folder"),
        (["2007_000033", "2007_000042"], "folder"),
        (["lindau_000000_000019_leftImg8bit", "lindau_000001_000019_leftImg8bit"], "cityscapes"),
        ([f"synthetic_val_{i:04d}" for i in range(40)], "synthetic"),
        (["photo1", "photo2"], "folder"),  # a single stretch has no spread
    ):
        assert image_blocks(names, dataset)[0].tolist() == list(range(len(names)))
        assert not image_blocks(names, dataset)[1]


def test_the_interval_is_that_of_the_formula():
    one = Difference(0.02, (4e-4, 1e-4), (4, 5), 3e-5, 12)
    terms = np.array([1e-4, 2e-5, 3e-5])
    assert math.isclose(one.error, math.sqrt(terms.sum()))
    assert math.isclose(one.df, terms.sum() ** 2 / (terms**2 / [3, 4, 11]).sum())
    assert np.allclose(one.interval(), 0.02 + np.array([-1, 1]) * t_quantile(0.975, one.df) * one.error)
    needed = one.seeds_for(0.03, 2)
    sees = [Difference(0, one.seeds, (n, n), one.images, 12).visible(2) <= 0.03 for n in (needed - 1, needed)]
    assert sees == [False, True]
    assert one.seeds_for(0.015, 1) is None  # the images alone hide it


def test_samples_are_the_scores_of_the_counts_and_one_run_has_no_interval():
    counts = np.array([[[[1, 2], [0, 0]], [[3, 4], [0, 0]]], [[[2, 2], [0, 0]], [[2, 4], [1, 10]]]])  # R=2, N=2, C=2
    first, absent, mean = samples_of(counts, np.array([0, 1]), 50)
    assert first.scores.tolist() == [4 / 6, 4 / 6] and mean.scores.tolist() == [4 / 6, (4 / 6 + 0.1) / 2]
    assert np.isnan(absent.scores[0]) and compare(absent, absent, 2) is None
    assert compare(Sample(mean.scores[:1], mean.resampled), mean, 2) is None and compare(mean, mean, 1) is None
    still = compare(first, first, 2)
    assert still.p_value == 1 and still.interval() == [0, 0]


def test_holm_multiplies_by_what_is_left():
    assert np.allclose(holm([0.04, 0.01, 0.03]), [0.06, 0.03, 0.06])
    assert holm([]) == [] and holm([0.7, 0.9]) == [1, 1]
