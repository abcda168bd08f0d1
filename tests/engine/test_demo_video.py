"""Videos in and out: sizes, rates, damaged files, a full disk."""

import os
import resource
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.demo.video_files import VideoReader, VideoWriter, be_quiet
from tests.processes import launch
from utils.cli import run_main
from utils.errors import DataError, EnvironmentFault


def write_video(path, frames: int = 12, size=(48, 64), rate: float = 12.5, codec: str = "mp4v"):
    """Frames of one colour each that gets brighter; returns the path."""
    be_quiet()  # as any program before its first video: FFmpeg's level holds for the whole process
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*codec), rate, size[::-1])
    assert writer.isOpened()
    for i in range(frames):
        writer.write(np.full((*size, 3), (10 * i, 0, 200), np.uint8))  # blue, green, red
    writer.release()
    return path


@pytest.mark.parametrize("name", ["clip.mp4", "clip.avi", "größe 日本.mp4", "%03d.mp4"])
def test_frames_are_rgb_in_order(name, tmp_path):
    video = VideoReader(write_video(tmp_path / name, codec="MJPG" if name.endswith("avi") else "mp4v"))
    frames = list(video)
    assert (video.rate, video.announced, len(frames)) == (12.5, 12, 12)
    assert not video.seems_cut_off(len(frames))
    for i, frame in enumerate(frames):
        assert frame.shape == (48, 64, 3) and frame.dtype == np.uint8
        np.testing.assert_allclose(frame.reshape(-1, 3).mean(axis=0), (200, 0, 10 * i), atol=6)


@pytest.mark.parametrize("content", ["missing", "folder", "empty", "text", "half"])
def test_what_is_no_video_is_named(content, tmp_path):
    path = tmp_path / "clip.mp4"
    if content == "folder":
        path.mkdir()
    elif content == "half":
        data = write_video(path).read_bytes()
        path.write_bytes(data[: len(data) // 2])
    elif content != "missing":
        path.write_bytes(b"" if content == "empty" else b"<html>login</html>" * 50)
    with pytest.raises(DataError, match=r"clip\.mp4: not a"):
        VideoReader(path)


def test_a_name_that_would_crash_opencv_is_refused(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    path.write_bytes(write_video(tmp_path / "clip.mp4").read_bytes())
    with pytest.raises(DataError, match="not UTF-8.*rename"):
        VideoReader(path)


def test_a_video_that_breaks_off_is_noticed(tmp_path):
    path = write_video(tmp_path / "clip.avi", frames=60, codec="MJPG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    video = VideoReader(path)
    number = len(list(video))
    assert 0 < number < 60 == video.announced
    assert video.seems_cut_off(number) and not video.seems_cut_off(56)


@pytest.mark.parametrize("rate", [0.5, 24000 / 1001, 30000 / 1001, 60000 / 1001, 1000])
def test_written_videos_keep_size_rate_and_colours(rate, tmp_path):
    with VideoWriter(tmp_path / "out.v1", rate) as writer:
        for i in range(5):
            writer.write(np.full((50, 70, 3), (200, 40 * i, 0), np.uint8))
    assert [path.name for path in tmp_path.iterdir()] == ["out.v1.mp4"]
    (tmp_path / "plain").touch()
    assert (tmp_path / "out.v1.mp4").stat().st_mode == (tmp_path / "plain").stat().st_mode
    video = VideoReader(tmp_path / "out.v1.mp4")
    assert video.rate == pytest.approx(rate, abs=1e-3)
    for i, frame in enumerate(frames := list(video)):
        assert frame.shape == (50, 70, 3)
        np.testing.assert_allclose(frame.reshape(-1, 3).mean(axis=0), (200, 40 * i, 0), atol=6)
    assert len(frames) == 5


def test_frames_too_large_for_mpeg4_become_motion_jpeg(tmp_path):
    with VideoWriter(tmp_path / "wide", 25) as writer:
        writer.write(np.full((16, 8400, 3), 100, np.uint8))
    assert [path.name for path in tmp_path.iterdir()] == ["wide.avi"]
    assert next(iter(VideoReader(tmp_path / "wide.avi"))).shape == (16, 8400, 3)


def test_nothing_is_left_of_a_video_that_fails(tmp_path):
    kept = write_video(tmp_path / "out.mp4").read_bytes()
    with pytest.raises(KeyError), VideoWriter(tmp_path / "out", 25) as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8))
        raise KeyError
    with (
        pytest.raises(DataError, match="frame 1: 32x48, those before 64x48"),
        VideoWriter(tmp_path / "x", 25) as writer,
    ):
        writer.write(np.zeros((48, 64, 3), np.uint8))
        writer.write(np.zeros((48, 32, 3), np.uint8))
    with pytest.raises(EnvironmentFault, match="1x1 video"), VideoWriter(tmp_path / "x", 25) as writer:
        writer.write(np.zeros((1, 1, 3), np.uint8))
    with VideoWriter(tmp_path / "nothing", 25):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    assert (tmp_path / "out.mp4").read_bytes() == kept


def fill_a_small_disk(folders: list[Path]) -> None:
    """Write a video where no file may be larger than 20 kB."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    rng = np.random.default_rng(0)
    with VideoWriter(folders[0] / "out", 25) as writer:
        for _ in range(40):
            writer.write(rng.integers(0, 255, (240, 320, 3), dtype=np.uint8))


def test_a_disk_that_fills_up_leaves_no_video(tmp_path):
    done = launch([run_main, fill_a_small_disk, [tmp_path]])
    assert done.returncode == 5
    assert done.stderr.startswith("error: ") and "free disk space" in done.stderr
    assert not list(tmp_path.iterdir())
