"""What the demo takes, and how results are named."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.demo.sources import NAME_BYTES, find_sources, unique_names
from utils.errors import DataError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def find(source, save_dir="nowhere", recursive=False) -> dict[str, str]:
    """Name -> path of what is found."""
    return {item.name: str(item.path) for item in find_sources(str(source), save_dir, recursive)}


def test_a_folder_gives_its_images(tmp_path):
    touch(tmp_path, "b.PNG", "a.jpg", "notes.txt", "clip.mp4", ".png", "inner/c.png")
    assert find(tmp_path) == {"a": str(tmp_path / "a.jpg"), "b": str(tmp_path / "b.PNG")}
    assert list(find(tmp_path, recursive=True)) == ["a", "b", "inner_c"]


def test_a_folder_with_the_suffix_of_an_image_is_reported_later(tmp_path):
    touch(tmp_path, "a.png", "b.png/c.png")
    assert list(find(tmp_path)) == ["a", "b"]
    assert list(find(tmp_path, recursive=True)) == ["a", "b", "b.png_c"]


def test_links_are_harmless(tmp_path):
    shots = touch(tmp_path / "shots", "a.png", "deep/b.png")
    (shots / "deep" / "loop").symlink_to(shots)
    (shots / "other").symlink_to(shots / "deep")
    (shots / "linked.png").symlink_to(shots / "a.png")
    (shots / "self.png").symlink_to(shots / "self.png")
    assert list(find(shots, recursive=True)) == ["a", "deep_b", "linked", "self"]
    assert list(find(shots / "**" / "*.png")) == ["a", "deep_b", "linked", "self"]
    assert list(find(shots / "*" / "*.png")) == ["deep_b"]
    (tmp_path / "today").symlink_to(shots)  # a link that is named itself is meant
    assert list(find(tmp_path / "today" / "*.png")) == ["a", "linked", "self"]


def test_one_file_of_any_name_is_taken(tmp_path):
    touch(tmp_path, "shot[1].png", "data.raw", "overlay_x.png")
    assert find(tmp_path / "shot[1].png") == {"shot[1]": str(tmp_path / "shot[1].png")}
    assert list(find(tmp_path / "data.raw")) == ["data"]
    assert list(find(tmp_path / "overlay_x.png", save_dir=tmp_path)) == ["overlay_x"]


def test_patterns_take_images_and_videos(tmp_path, monkeypatch):
    touch(tmp_path, "a1.png", "a2.jpg", "a3.txt", "b1.png", "c/a4.png", "d/a5.MOV", "d/e/a6.png", "a[0]/x.png")
    assert list(find(tmp_path / "a*")) == ["a1", "a2"]
    assert list(find(tmp_path / "?1.*")) == ["a1", "b1"]
    assert list(find(tmp_path / "[cd]" / "*")) == ["c_a4", "d_a5"]
    assert list(find(tmp_path / "**" / "a*.png")) == ["a1", "c_a4", "d_e_a6"]
    assert list(find(tmp_path / "a[0]")) == ["x"]  # a folder of this name
    monkeypatch.chdir(tmp_path / "d")
    assert list(find("../*.png")) == ["a1", "b1"] and list(find("*")) == ["a5"]


@pytest.mark.parametrize(
    "source", ["none", "2024010112", "none/x.png", "*.doc", "empty", "empty/**/*", "**x/*.png", "x" * 300]
)
@pytest.mark.parametrize("recursive", [False, True])
def test_nothing_to_do_is_said(source, recursive, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "a.png", "empty/notes.txt")
    with pytest.raises(DataError, match=r"--source|not a pattern") as caught:
        find(source, recursive=recursive)
    assert source in str(caught.value)


def test_results_of_an_earlier_run_are_no_sources(tmp_path):
    touch(tmp_path, "a.png", "overlay_a.png", "out/overlay_a.png", "out/color_mask_a.png", "out/b.png")
    assert list(find(tmp_path, save_dir=tmp_path / "out", recursive=True)) == ["a", "out_b", "overlay_a"]
    assert list(find(tmp_path / "**" / "*.png", save_dir=tmp_path / "out")) == ["a", "out_b", "overlay_a"]
    assert list(find(tmp_path, save_dir=tmp_path / "out" / "..")) == ["a"]
    (tmp_path / "link").symlink_to(tmp_path / "out")
    assert list(find(tmp_path / "out", save_dir=tmp_path / "link")) == ["b"]


def test_equal_stems_are_told_apart():
    paths = [Path(name) for name in ("a.jpg", "a.png", "A.bmp", "a_png.jpg", "b.c.png", "d/e.png", "d_e.png")]
    assert unique_names(paths) == ["a_jpg", "a_png_2", "A_bmp", "a_png", "b.c", "d_e_png", "d_e_png_2"]


LETTERS = ["a", "A", ".", "_", "ä", "\udce9", " ", "1", "png", ".."]
WORDS = st.lists(st.sampled_from(LETTERS), min_size=1, max_size=4).map("".join)
PARTS = (WORDS | st.just("x" * 250) | st.just("ß" * 125)).filter(lambda part: part not in (".", ".."))
PATHS = st.lists(st.lists(PARTS, min_size=1, max_size=3).map(lambda parts: Path(*parts)), unique=True, max_size=12)


@given(PATHS)
def test_names_never_collide_nor_leave_the_folder(paths):
    names = unique_names(paths)
    assert len({name.casefold() for name in names}) == len(paths)
    for name in names:
        assert os.sep not in name and len(os.fsencode(f".color_mask_{name}.png.12345678.tmp")) <= 255
        assert len(os.fsencode(name)) <= NAME_BYTES + 10
