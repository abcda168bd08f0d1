"""The index of a split's files: what it holds, what is read again, what its digests depend on."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets import camvid, decoding, file_contents, index_file
from datasets.boost import BoostedSplit
from datasets.index import build_index, data_digest, labels_digest, open_index, sample_keys
from datasets.part import SubsetSplit
from datasets.synthetic.split import SyntheticSplit
from tests.datasets import trees

LONG_AGO = 1_700_000_000


@pytest.fixture
def root(tmp_path):
    """CamVid's layout with 5 images a split, written long ago."""
    return age(trees.make_camvid(tmp_path / "data", 5))


@pytest.fixture
def looked(monkeypatch):
    """Names of the samples that were looked at."""
    seen, look_at = [], file_contents.look_at
    monkeypatch.setattr(
        "datasets.index.look_at", lambda split, row: seen.append(split.names[row]) or look_at(split, row)
    )
    return seen


def age(root: Path, seconds: int = LONG_AGO) -> Path:
    for path in root.rglob("*.png"):
        os.utime(path, (seconds, seconds))
    return root


def equal(first, second) -> bool:
    return all(np.array_equal(value, vars(second)[name]) for name, value in vars(first).items())


def opened(root, folder, split="train"):
    return open_index(camvid.build_split(root, split), folder)


def test_an_index_says_what_the_files_hold(tmp_path):
    label = trees.gray(3)
    label[0] = 255
    trees.save(tmp_path / "train" / "a.png", trees.rgb(1, 4, 6))
    trees.save(tmp_path / "trainannot" / "a.png", label)
    trees.save(tmp_path / "train" / "b.jpg", trees.gray(1, 8, 2))
    trees.save(tmp_path / "trainannot" / "b.png", trees.gray(7, 9, 2))
    index = build_index(camvid.build_split(tmp_path, "train"))
    assert index.read.all() and not index.faults and len(index) == 2
    assert index.image_sizes.tolist() == [[4, 6], [8, 2]] and index.label_sizes.tolist() == [[4, 6], [9, 2]]
    assert index.image_modes == ["RGB", "L"] and index.label_modes == ["L", "L"]
    assert index.label_ids(0) == {3: 18, 255: 6} and index.label_ids(1) == {7: 18}
    assert index.id_pixels()[[3, 7, 255]].tolist() == [18, 18, 6] and len(index.ids) == 3


def test_a_second_start_opens_no_file_of_the_data(root, tmp_path, looked):
    first = opened(root, tmp_path / "runs")
    assert len(looked) == 5
    assert equal(opened(root, tmp_path / "runs"), first) and len(looked) == 5


def test_what_changed_is_looked_at_again_and_nothing_else(root, tmp_path, looked):
    names, first = camvid.build_split(root, "train").names, opened(root, tmp_path / "runs")
    trees.save(root / "trainannot" / f"{names[1]}.png", trees.gray(9))  # as many bytes as before
    os.replace(shutil.copy2(root / "train" / f"{names[4]}.png", tmp_path), root / "train" / f"{names[3]}.png")
    (root / "train" / f"{names[0]}.png").unlink()
    (root / "trainannot" / f"{names[0]}.png").unlink()
    looked.clear()
    second = opened(root, tmp_path / "runs")
    assert sorted(looked) == [names[1], names[3]] and len(second) == 4
    assert second.label_ids(0) == {9: 24} and second.label_ids(1) == first.label_ids(2)
    assert second.digests[2, 0] == second.digests[3, 0] != first.digests[3, 0]
    assert equal(second, build_index(camvid.build_split(root, "train")))


def test_a_file_written_a_moment_ago_is_looked_at_again(root, tmp_path, looked):
    name = camvid.build_split(root, "train").names[2]
    os.utime(root / "trainannot" / f"{name}.png")
    opened(root, tmp_path / "runs")
    looked.clear()
    opened(root, tmp_path / "runs")
    assert looked == [name]


def test_a_damaged_or_another_file_is_rebuilt(root, tmp_path, looked):
    first = opened(root, tmp_path)
    (path,) = tmp_path.glob("index_*.npz")
    good = path.read_bytes()
    with np.load(path) as file:
        arrays = dict(file)
    place = good.index(arrays["pixels"].tobytes())
    changes = [{"pixels": arrays["pixels"][1:]}, {"starts": arrays["starts"][::-1]}, {"modes": arrays["modes"] + 9}]
    changes += [{"ids": arrays["ids"].astype(np.int64)}, {"header": arrays["header"][1:]}, {"kinds": np.array(1)}]
    contents = [b"", b"{}", good[:-40], good[:place] + b"\x07" + good[place + 1 :]]
    for change in changes:
        np.savez(path, **arrays | change)
        contents.append(path.read_bytes())
    for number, content in enumerate(contents):
        path.write_bytes(content)
        looked.clear()
        assert equal(opened(root, tmp_path), first), number
        assert len(looked) == 5 and path.read_bytes() == good, number


def test_a_label_that_can_t_be_read_is_named_each_time_and_the_others_are_kept(root, tmp_path, looked):
    path = root / "trainannot" / f"{camvid.build_split(root, 'train').names[1]}.png"
    good = path.read_bytes()
    path.write_bytes(good[:50])
    os.utime(path, (LONG_AGO, LONG_AGO))
    for times in (5, 6):
        index = opened(root, tmp_path / "runs")
        assert list(index.faults) == [1] and str(path) in index.faults[1] and len(looked) == times
    path.write_bytes(good)
    assert not opened(root, tmp_path / "runs").faults


def test_digests_are_those_of_a_copy_and_tell_any_change(root, tmp_path):
    split = camvid.build_split(root, "train")
    whole = data_digest(build_index(split), split)
    copy = camvid.build_split(age(shutil.copytree(root, tmp_path / "copy"), LONG_AGO + 60), "train")
    assert data_digest(build_index(copy), copy) == whole
    backwards = SubsetSplit(split, range(5)[::-1])
    index = build_index(backwards)
    assert data_digest(index, backwards) == whole
    assert labels_digest(index, backwards) != labels_digest(build_index(split), split)
    fewer = SubsetSplit(split, range(4))
    digests = {whole, data_digest(build_index(fewer), fewer)}
    for part, content in (("train", trees.rgb(200)), ("trainannot", trees.gray(5))):
        trees.save(tmp_path / "copy" / part / f"{split.names[0]}.png", content)
        digests.add(data_digest(build_index(copy), copy))
    assert len(digests) == 4


def test_keys_of_samples_tell_renamed_from_rewritten_ones(root):
    split = camvid.build_split(root, "train")
    index = build_index(split)
    keys, renamed = sample_keys(index, split.names), sample_keys(index, ["x", *split.names[1:]])
    assert keys.dtype == np.uint64 and keys.shape == (5, 2) and len(np.unique(keys)) == 10
    assert keys[0, 0] != renamed[0, 0] and np.array_equal(keys[:, 1], renamed[:, 1])


def test_a_part_is_looked_at_alone_and_the_whole_then_needs_the_rest(root, tmp_path, looked):
    split = camvid.build_split(root, "train")
    part = open_index(SubsetSplit(split, [3, 1, 3]), tmp_path / "runs")
    assert sorted(looked) == [split.names[1], split.names[3]] and part.read.all() and len(part) == 3
    whole = open_index(split, tmp_path / "runs")
    assert sorted(looked) == split.names and equal(part, whole.take(np.array([3, 1, 3])))
    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_a_boosted_split_shares_the_files_of_both(root, tmp_path, looked):
    train, val = camvid.build_split(root, "train"), camvid.build_split(root, "val")
    index = open_index(BoostedSplit(train, val, [0]), tmp_path / "runs")
    assert sorted(looked) == train.names + val.names
    assert equal(index, index.join([open_index(train, tmp_path / "runs"), open_index(val, tmp_path / "runs")]))
    assert len(looked) == 10


def test_after_the_time_is_up_nothing_more_is_looked_at_and_the_next_start_continues(root, tmp_path, looked):
    split = camvid.build_split(root, "train")
    assert not open_index(split, tmp_path / "runs", seconds=-1).read.any() and not looked
    assert open_index(split, tmp_path / "runs").read.all() and len(looked) == 5


def test_drawn_scenes_have_an_index_and_another_seed_is_other_data(tmp_path, looked):
    splits = [SyntheticSplit("val", seed, 2, 16, 32) for seed in (0, 1)]
    first, other = (open_index(split, tmp_path) for split in splits)
    assert first.read.all() and first.id_pixels().sum() == 2 * 16 * 32 and len(looked) == 4
    assert data_digest(first, splits[0]) != data_digest(other, splits[1])
    assert equal(open_index(splits[0], tmp_path), first) and len(looked) == 4


def test_images_without_labels_are_looked_at(tmp_path):
    split = camvid.build_split(trees.make_camvid(tmp_path), "test")
    bare = type(split)(
        "camvid", "test", split.classes, [item.__class__(item.name, item.image, None) for item in split.items]
    )
    index = open_index(bare, tmp_path / "runs")
    assert index.read.all() and index.image_sizes.all() and not index.ids.size and not index.digests[:, 1].any()


def test_a_png_without_a_rotation_isn_t_decoded_for_it(root, monkeypatch):
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.getexif", lambda self: pytest.fail("decodes the image"))
    assert (build_index(camvid.build_split(root, "train")).orientations == 1).all()


@pytest.mark.parametrize(("tag", "orientation"), [(6, 6), (0, 1), (700, 1)])
def test_a_rotation_is_read_and_a_wrong_one_is_none(tag, orientation, root):
    split, exif = camvid.build_split(root, "train"), Image.Exif()
    exif[decoding.ORIENTATION] = tag
    Image.fromarray(trees.rgb(1)).save(split.items[2].image, exif=exif)
    index = build_index(split)
    assert index.orientations.tolist() == [1, 1, orientation, 1, 1] and not index.faults


def test_only_the_ends_of_a_large_image_are_read(tmp_path):
    path = tmp_path / "train" / "a.png"
    trees.save(path, trees.noise(300, 300))
    trees.save(tmp_path / "trainannot" / "a.png", trees.gray(0, 300, 300))
    split, content, digests = camvid.build_split(tmp_path, "train"), bytearray(path.read_bytes()), []
    assert len(content) > 3 * file_contents.EDGE
    for place in (None, len(content) // 2, 2**15, len(content) - 2**15):
        changed = content.copy()
        if place is not None:
            changed[place] ^= 1
        path.write_bytes(changed)
        digests.append(build_index(split).digests[0, 0])
    assert digests[0] == digests[1] and len(set(digests)) == 3


def test_the_layout_of_the_file_is_the_index_s(root, tmp_path):
    opened(root, tmp_path)
    (path,) = tmp_path.glob("index_*.npz")
    with np.load(path) as file:
        assert set(file.files) == {*index_file.LAYOUT, "header"}
