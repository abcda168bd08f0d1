"""Class-uniform sampling: centroids, their cache, and the plan of an epoch."""

from collections import Counter

import numpy as np
import pytest

from datasets.base import ClassTable, Split
from datasets.options import DataOptions
from datasets.sampling.class_uniform import (
    CropSample,
    crops_per_class,
    extract_centroids,
    load_centroids,
    sample_epoch,
    tile_centroids,
)
from tests.datasets import trees
from utils.errors import OptionError

CLASSES = ClassTable(("a", "b", "c"), ((0, 0, 0),) * 3, (0, 1, 2), {0: 0, 1: 1, 2: 2, 255: 255})


class ArraySplit(Split):
    """Label maps held in memory; counts how often they are read."""

    def __init__(self, labels):
        self.dataset, self.split, self.classes = "arrays", "train", CLASSES
        self.labels, self.names, self.reads = labels, [f"n{i}" for i in range(len(labels))], 0

    def load_label(self, index):
        self.reads += 1
        return self.labels[index]


def reference_centroids(label, tile):
    """One boolean mask per tile and class: the plain formulation."""
    found = set()
    for top in range(0, label.shape[0], tile):
        for left in range(0, label.shape[1], tile):
            window = label[top : top + tile, left : left + tile]
            for class_id in set(window.ravel().tolist()) - {255}:
                ys, xs = np.nonzero(window == class_id)
                found.add((class_id, left + int(xs.mean()), top + int(ys.mean())))
    return found


@pytest.mark.parametrize(
    ("height", "width", "tile"), [(30, 50, 16), (10, 12, 64), (16, 32, 16), (1, 1, 1), (7, 5, 3), (8, 17, 8)]
)
def test_centroids_are_the_plain_formulation_s_on_tiles_of_any_fit(height, width, tile):
    label = np.random.default_rng(0).choice(np.array([0, 1, 2, 255], np.uint8), (height, width))
    found = tile_centroids(label, tile)
    assert set(found) == reference_centroids(label, tile)
    assert len(found) == len(set(found))


def random_split(count=12):
    rng = np.random.default_rng(1)
    labels = [rng.choice(np.array([0, 2, 255], np.uint8), (20, 30)) for _ in range(count)]
    return ArraySplit(labels)  # class 1 is absent


def test_half_of_the_draws_are_shared_out_evenly_over_the_classes_that_exist():
    split = random_split()
    centroids = extract_centroids(split, 16)
    for num_images, pct in ((12, 0.5), (101, 0.5), (100, 1.0), (37, 0.3)):
        plan = sample_epoch(num_images, centroids, pct, seed=1, epoch=0)
        counts = crops_per_class(plan, 3)
        assert len(plan) == num_images and counts.sum() == round(pct * num_images)
        assert counts[1] == 0 and abs(counts[0] - counts[2]) <= 1
        assert [draw.index for draw in plan] == list(range(num_images))


def test_a_draw_s_centroid_is_one_of_its_class_in_its_image():
    split = random_split()
    for draw in sample_epoch(len(split), extract_centroids(split, 16), 1.0, seed=0, epoch=3):
        assert (draw.class_id, *draw.centroid) in tile_centroids(split.labels[draw.image], 16)
        assert draw.epoch == 3


def test_images_and_centroids_come_round_once_before_any_repeats():
    centroids = [np.array([[i, i, i] for i in range(5)]), np.empty((0, 3), np.int64), np.array([[7, 1, 1]])]
    plan = sample_epoch(24, centroids, 0.5, seed=0, epoch=0)
    plain = [draw.image for draw in plan if draw.class_id is None]
    assert len(set(plain)) == len(plain) == 12
    times = Counter(draw.image for draw in plan if draw.class_id == 0)
    assert set(times) == set(range(5)) and max(times.values()) - min(times.values()) <= 1
    assert crops_per_class(plan, 3).tolist() == [6, 0, 6]


def test_both_kinds_of_draws_are_mixed():
    plan = sample_epoch(200, extract_centroids(random_split(), 16), 0.5, seed=0, epoch=0)
    for quarter in range(4):
        uniform_draws = sum(draw.class_id is not None for draw in plan[50 * quarter : 50 * quarter + 50])
        assert 10 < uniform_draws < 40


def test_share_zero_and_no_class_at_all_give_a_permutation():
    empty = [np.empty((0, 3), np.int64)] * 3
    for centroids, pct in ((None, 0.0), (extract_centroids(random_split(), 16), 0.0), (empty, 0.5)):
        plan = sample_epoch(30, centroids, pct, seed=0, epoch=0)
        assert sorted(draw.image for draw in plan) == list(range(30))
        assert all(draw.centroid is None for draw in plan)
        assert [draw.image for draw in plan] != list(range(30))


def test_a_plan_depends_on_seed_and_epoch_only():
    centroids = extract_centroids(random_split(), 16)
    plans = {(s, e): sample_epoch(60, centroids, 0.5, s, e) for s in (0, 1) for e in (0, 1)}
    images = {key: tuple(draw.image for draw in plan) for key, plan in plans.items()}
    assert len(set(images.values())) == 4
    np.random.seed(123)
    assert list(sample_epoch(60, centroids, 0.5, 1, 1)) == list(plans[1, 1])


def test_plan_and_first_sample_have_different_random_streams(monkeypatch):
    seen = []
    real = np.random.SeedSequence
    monkeypatch.setattr(np.random, "SeedSequence", lambda *a, **k: seen.append(real(*a, **k)) or seen[-1])
    sample_epoch(3, None, 0.0, seed=5, epoch=2)
    assert seen[0].generate_state(4).tolist() != real([5, 2, 0]).generate_state(4).tolist()


@pytest.mark.parametrize("option", ["class_uniform_pct -0.1", "class_uniform_pct 1.5", "class_uniform_tile 0"])
def test_an_option_out_of_range_names_its_flag(option):
    name, value = option.split()
    with pytest.raises(OptionError, match=f"--{option}"):
        DataOptions(**{name: float(value) if "." in value else int(value)})


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_the_file_saves_reading_and_gives_the_same(tmp_path):
    split, path = random_split(), tmp_path / "deep" / "c.npz"
    first = load_centroids(split, 16, path, "a")
    assert split.reads == len(split)
    assert same(load_centroids(split, 16, path, "a"), first)
    assert split.reads == len(split)
    assert [file.name for file in path.parent.iterdir()] == ["c.npz"]


def test_the_file_is_rebuilt_for_other_labels_or_another_tile(tmp_path):
    path, other = tmp_path / "c.npz", random_split(5)
    load_centroids(random_split(5), 16, path, "a")
    other.labels = other.labels[::-1]
    assert same(load_centroids(other, 16, path, "b"), extract_centroids(other, 16))
    assert same(load_centroids(other, 8, path, "b"), extract_centroids(other, 8))


def spoil(path):
    """What may stand in the file in place of what was written."""
    good = path.read_bytes()
    yield "half", good[: len(good) // 2]
    yield "empty", b""
    yield "text", b'{"version": 2}'
    with np.load(path) as file:
        arrays = dict(file)
    rows, counts = arrays["rows"], arrays["counts"]
    header = good.index(rows.tobytes())
    yield "a bit", good[:header] + bytes([good[header] ^ 1]) + good[header + 1 :]
    wrong = {
        "image out of range": {"rows": rows + np.array([99, 0, 0], np.int32)},
        "negative": {"rows": -rows - 1},
        "fraction": {"rows": rows.astype(np.float32)},
        "pairs": {"rows": rows[:, :2]},
        "class missing": {"counts": counts[:-1]},
        "counts of other rows": {"counts": counts + 1},
        "another array": {"more": counts},
        "objects": {"rows": np.array([None], object)},
    }
    for what, change in wrong.items():
        np.savez(path, **arrays | change)
        yield what, path.read_bytes()


def test_a_damaged_file_is_rebuilt(tmp_path):
    split, path = random_split(3), tmp_path / "c.npz"
    first = load_centroids(split, 16, path, "a")
    good = path.read_bytes()
    for what, content in list(spoil(path)):
        path.write_bytes(content)
        assert same(load_centroids(split, 16, path, "a"), first), what
        assert path.read_bytes() == good, what


def test_a_folder_that_can_t_be_written_is_one_warning(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    split = random_split(3)
    for name in ("a.npz", "b.npz"):
        centroids = load_centroids(split, 16, tmp_path / "file" / name, "a")
        assert same(centroids, extract_centroids(split, 16))
    assert caplog.text.count("WARNING") == caplog.text.count("not cached") == 1


def test_a_crash_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "c.npz"
    load_centroids(random_split(3), 16, path, "a")
    before = path.read_bytes()

    def crash(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr("utils.files.os.replace", crash)
    with pytest.raises(KeyboardInterrupt):
        load_centroids(random_split(4), 16, path, "b")
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@trees.needs_camvid
def test_camvid_s_rare_classes_get_their_share():
    from datasets.camvid import build_split

    split = build_split(trees.REAL_CAMVID, "val")
    plan = sample_epoch(len(split), extract_centroids(split, 300), 0.5, seed=0, epoch=0)
    counts = crops_per_class(plan, 11)
    assert counts.sum() == 50 and counts.max() - counts.min() <= 1
    assert all(isinstance(draw, CropSample) and 0 <= draw.image < 101 for draw in plan)
