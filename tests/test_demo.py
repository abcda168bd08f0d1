"""demo_folder.py from end to end: odd files, odd names, videos, faults."""

import os
import random
import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import demo_folder
from datasets.base import ClassTable
from engine.demo.build import build_demo
from engine.demo.options import DemoOptions
from engine.demo.sources import find_sources
from engine.demo.video_files import VideoReader
from engine.inference.predictor import Predictor
from tests.conftest import make_scenes
from tests.engine.test_demo_video import write_video
from tests.processes import launch

RAMP = np.linspace(0, 65535, 48 * 64).reshape(48, 64).astype(np.uint16)


@pytest.fixture(scope="module")
def snapshot(trained):
    return trained.last


@pytest.fixture
def scene(tmp_path) -> Image.Image:
    """A picture of 64x48 pixels."""
    return Image.open(make_scenes(tmp_path / "scenes", 1) / "images" / "train" / "000.png")


def demo(snapshot, source, out, *more) -> int:
    argv = ["--snapshot", snapshot, "--source", source, "--save_dir", out, "--device", "cpu", *more]
    return demo_folder.main([str(arg) for arg in argv])


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def pictures(name: str) -> set[str]:
    return {f"color_mask_{name}.png", f"overlay_{name}.png"}


def pixels(path: Path) -> np.ndarray:
    return np.array(Image.open(path))


def test_every_mode_of_image_gives_upright_pictures(snapshot, scene, tmp_path, capfd):
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(RAMP).save(folder / "sixteen.png")
    Image.fromarray(RAMP).save(folder / "sixteen.tif")
    scene.convert("P").save(folder / "palette.png")
    scene.convert("RGBA").save(folder / "alpha.webp")
    scene.convert("LA").save(folder / "gray_alpha.png")
    scene.convert("1").save(folder / "bits.png")
    scene.convert("CMYK").save(folder / "cmyk.jpg")
    scene.save(folder / "frames.gif", save_all=True, append_images=[scene.rotate(180)])
    scene.crop((0, 0, 1, 1)).save(folder / "pixel.bmp")
    scene.save(folder / "größe 日本.jpeg")
    exif = Image.Exif()
    exif[0x0112] = 6
    scene.save(folder / "turned.jpg", exif=exif)
    out = tmp_path / "out"
    assert demo(snapshot, folder, out) == 0
    assert "11 of 11 images done" in capfd.readouterr().out
    stems = {path.stem for path in folder.iterdir()} - {"sixteen"} | {"sixteen_png", "sixteen_tif"}
    assert names(out) == set().union(*(pictures(stem) for stem in stems))
    for path in out.iterdir():
        size = (1, 1) if "pixel" in path.name else (48, 64) if "turned" in path.name else (64, 48)
        assert Image.open(path).size == size and Image.open(path).mode == "RGB", path


def test_what_cannot_be_used_is_listed_and_the_rest_is_done(snapshot, scene, tmp_path, capfd):
    folder = tmp_path / "in"
    (folder / "folder.png").mkdir(parents=True)
    scene.save(folder / "good.png")
    (folder / "zero.png").touch()
    (folder / "text.jpg").write_text("<html>")
    scene.resize((256, 192)).save(folder / "half.jpg")
    (folder / "half.jpg").write_bytes((folder / "half.jpg").read_bytes()[:3000])
    Image.new("1", (13000, 13000)).save(folder / "bomb.png")
    (folder / "nowhere.png").symlink_to(folder / "gone")
    os.mkfifo(folder / "pipe.png")
    (folder / "line\nbreak\x1b[31m.png").touch()
    (folder / os.fsdecode(b"caf\xe9.png")).touch()
    assert demo(snapshot, folder, tmp_path / "out") == 0
    assert names(tmp_path / "out") == pictures("good")
    said = capfd.readouterr().out.splitlines()
    skipped = [line for line in said if line.startswith("WARNING: skipped: ")]
    assert "1 of 10 images done" in said[-1] and len(skipped) == 9
    for name in ("folder", "zero", "text", "half", "bomb", "nowhere", "pipe", r"line\nbreak\x1b[31m", r"caf\udce9"):
        assert sum(f"{name}." in line for line in skipped) == 1, name


def test_an_image_with_too_many_pixels_is_skipped(snapshot, scene, tmp_path, capfd):
    (tmp_path / "in").mkdir()
    scene.save(tmp_path / "in" / "a.png")
    scene.resize((128, 96)).save(tmp_path / "in" / "b.png")
    assert demo(snapshot, tmp_path / "in", tmp_path / "out", "--max_pixels", "4000") == 0
    assert names(tmp_path / "out") == pictures("a")
    said = capfd.readouterr().out
    assert f"skipped: {tmp_path}/in/b.png: image of 128x96 pixels" in said and "--max_pixels 4000" in said


def test_legend_side_by_side_and_label_ids(snapshot, scene, tmp_path):
    scene.save(tmp_path / "a.png")
    assert demo(snapshot, tmp_path / "a.png", tmp_path / "plain", "--label_ids", "--opacity", "0") == 0
    assert names(tmp_path / "plain") == pictures("a") | {"label_ids_a.png"}
    assert (pixels(tmp_path / "plain" / "overlay_a.png") == np.array(scene)).all()
    ids = Image.open(tmp_path / "plain" / "label_ids_a.png")
    assert ids.mode == "L" and ids.size == (64, 48)
    palette = ClassTable.from_dict(torch.load(snapshot, weights_only=True)["classes"]).palette
    assert (np.array(palette)[np.array(ids)] == pixels(tmp_path / "plain" / "color_mask_a.png")).all()

    assert demo(snapshot, tmp_path / "a.png", tmp_path / "full", "--legend", "--side_by_side") == 0
    picture = pixels(tmp_path / "full" / "overlay_a.png")
    assert (picture[:48, :64] == np.array(scene)).all() and picture.shape[0] > 48 and picture.shape[1] >= 132
    for i, color in enumerate(palette):
        assert bool((picture[48:] == color).all(axis=2).any()) == bool((np.array(ids) == i).any())


def test_results_do_not_depend_on_company(snapshot, tmp_path):
    folder = make_scenes(tmp_path / "data", 4) / "images" / "train"
    assert demo(snapshot, folder, tmp_path / "all") == 0
    for path in folder.iterdir():
        assert demo(snapshot, path, tmp_path / "one") == 0
    assert names(tmp_path / "all") == names(tmp_path / "one") and len(names(tmp_path / "all")) == 8
    for path in (tmp_path / "all").iterdir():
        assert path.read_bytes() == (tmp_path / "one" / path.name).read_bytes()


def test_images_of_more_than_8_bits_have_one_range_whoever_draws_them(snapshot, tmp_path):
    (tmp_path / "in").mkdir()
    for name, largest in zip("abcd", (1000, 4000, 1000, 4000), strict=True):
        Image.fromarray((RAMP // (65535 // largest)).astype(np.uint16)).save(tmp_path / "in" / f"{name}.png")
    assert demo(snapshot, tmp_path / "in", tmp_path / "all") == 0
    options = DemoOptions(snapshot=str(snapshot), source="x", save_dir=str(tmp_path / "shared"), device="cpu")
    (tmp_path / "shared").mkdir()
    for rank in range(2):
        sources = find_sources(str(tmp_path / "in"), str(tmp_path / "shared"), False)
        assert build_demo(options, torch.device("cpu")).run(sources, slice(rank, None, 2)) == (2, [])
    for path in (tmp_path / "all").iterdir():
        assert path.read_bytes() == (tmp_path / "shared" / path.name).read_bytes()


def test_protocol_options_reach_the_predictor(snapshot, scene, tmp_path):
    scene.resize((200, 120)).save(tmp_path / "a.png")
    masks = []
    for i, more in enumerate(
        [[], ["--base_size", "40"], ["--inference_mode", "sliding", "--scales", "0.5,1", "--flip"]]
    ):
        assert demo(snapshot, tmp_path / "a.png", tmp_path / str(i), *more) == 0
        masks.append(pixels(tmp_path / str(i) / "color_mask_a.png"))
    assert masks[0].shape == masks[1].shape == masks[2].shape == (120, 200, 3)
    assert (masks[0] != masks[1]).any() and (masks[0] != masks[2]).any()
    assert demo(snapshot, tmp_path / "a.png", tmp_path / "half", "--amp", "bf16") == 0
    assert (pixels(tmp_path / "half" / "color_mask_a.png") == masks[0]).all(axis=2).mean() > 0.9


def test_only_single_runs_are_not_merged(snapshot, tmp_path):
    common = {"snapshot": str(snapshot), "source": str(tmp_path), "merge": "exp_softmax"}
    for more in ({"inference_mode": "sliding"}, {"scales": (0.5, 1.0)}, {"flip": True}):
        assert build_demo(DemoOptions(**common, **more), torch.device("cpu")).model.predict.merge == "exp_softmax"
    assert build_demo(DemoOptions(**common), torch.device("cpu")).model.predict.merge == "logit"


def test_nothing_is_written_outside_the_output_folder(snapshot, scene, tmp_path):
    folder, out, elsewhere = tmp_path / "in", tmp_path / "in" / "out", tmp_path / "elsewhere.png"
    for name in ("...png", "..%2f..%2fx.png", "a/b/...png", "-x.png", "C:\\x.png", "x" * 251 + ".png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        scene.save(folder / name, format="PNG")
    out.mkdir()
    elsewhere.write_text("kept")
    (out / "overlay_-x.png").symlink_to(elsewhere)
    before = sorted(path for path in tmp_path.rglob("*") if path.parent != out)
    for _ in range(2):  # the second run doesn't take the first one's results
        assert demo(snapshot, folder, out, "--recursive") == 0
        assert len(names(out)) == 12
    assert sorted(path for path in tmp_path.rglob("*") if path.parent != out) == before
    assert elsewhere.read_text() == "kept" and not (out / "overlay_-x.png").is_symlink()


@pytest.mark.parametrize("more", [[], ["--legend", "--side_by_side"]])
def test_a_video_keeps_its_size_rate_and_length(snapshot, tmp_path, capfd, more):
    clip = write_video(tmp_path / "clip.mp4", frames=9)
    assert demo(snapshot, clip, tmp_path / "out", "--mask_video", *more) == 0
    assert names(tmp_path / "out") == {"overlay_clip.mp4", "color_mask_clip.mp4"}
    for name in names(tmp_path / "out"):
        video = VideoReader(tmp_path / "out" / name)
        shapes = [frame.shape for frame in video]
        assert len(shapes) == 9 and video.rate == 12.5 and len(set(shapes)) == 1
        assert (shapes[0] == (48, 64, 3)) == (not more or "mask" in name)
    assert "1 of 1 images and videos done" in capfd.readouterr().out


def test_frames_a_second_are_drawn_unless_unwanted(snapshot, tmp_path):
    clip = write_video(tmp_path / "clip.mp4", frames=6)
    corners = []
    for i, more in enumerate([[], ["--no-show_fps"]]):
        assert demo(snapshot, clip, tmp_path / str(i), "--opacity", "0", "--max_frames", "4", *more) == 0
        frames = list(VideoReader(tmp_path / str(i) / "overlay_clip.mp4"))
        assert len(frames) == 4
        corners.append(frames[-1][:12, :12].mean(axis=(0, 1)))
    np.testing.assert_allclose(corners[1], (200, 0, 30), atol=8)
    assert np.abs(corners[0] - corners[1]).max() > 60


def test_broken_videos_among_others(snapshot, scene, tmp_path, capfd):
    folder = tmp_path / "in"
    folder.mkdir()
    scene.save(folder / "a.png")
    write_video(folder / "a.mp4")
    (folder / "broken.mp4").write_bytes((folder / "a.mp4").read_bytes()[:500])
    write_video(folder / "short.avi", frames=60, codec="MJPG")
    (folder / "short.avi").write_bytes((folder / "short.avi").read_bytes()[:-9000])
    assert demo(snapshot, folder / "*", tmp_path / "out") == 0
    said = capfd.readouterr().out
    assert names(tmp_path / "out") == pictures("a_png") | {"overlay_a_mp4.mp4", "overlay_short.mp4"}
    assert "3 of 4 images and videos done" in said and f"skipped: {folder}/broken.mp4: not a readable video" in said
    assert f"{folder}/short.avi: ends after" in said and "of 60 frames; it may be cut off" in said
    assert demo(snapshot, folder / "broken.mp4", tmp_path / "none") == 3


def test_scores_that_are_not_finite_leave_finished_pictures(snapshot, scene, tmp_path, capfd, monkeypatch):
    for name in "abc":
        (tmp_path / "in").mkdir(exist_ok=True)
        scene.save(tmp_path / "in" / f"{name}.png")
    predict, calls = Predictor.__call__, []

    def broken(self, x):
        calls.append(0)
        return predict(self, x) * (float("nan") if len(calls) == 3 else 1)

    monkeypatch.setattr(Predictor, "__call__", broken)
    assert demo(snapshot, tmp_path / "in", tmp_path / "out") == 6
    error = capfd.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and f"{tmp_path}/in/c.png" in error
    assert names(tmp_path / "out") == pictures("a") | pictures("b")


def demo_limited(limit: int, *argv: str) -> int:
    """The demo where no file may be larger than `limit` bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    return demo_folder.main(argv)


def test_a_full_disk_leaves_finished_pictures(snapshot, scene, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    scene.save(folder / "a.png")
    noise = np.frombuffer(random.Random(0).randbytes(200 * 200 * 3), np.uint8).reshape(200, 200, 3)
    Image.fromarray(noise).save(folder / "b.png")
    scene.save(folder / "c.png")
    argv = ["--snapshot", snapshot, "--source", folder, "--save_dir", out, "--device", "cpu"]
    done = launch([demo_limited, 30000, *map(str, argv)])
    assert done.returncode == 5 and done.stderr.splitlines()[-1].startswith("error: "), done.stderr
    assert "overlay_b.png" in done.stderr and "free disk space" in done.stderr
    assert pictures("a") <= names(out) and "overlay_b.png" not in names(out)
    assert not [name for name in names(out) if name.endswith(".tmp")]
    for path in out.iterdir():
        assert pixels(path).ndim == 3
