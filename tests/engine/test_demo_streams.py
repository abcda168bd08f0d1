"""Cameras and streams: the newest frame, breaks, what isn't there; recordings."""

import http.server
import os
import shutil
import signal
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import datasets
import demo_folder
from engine.demo import captures, h264, streams
from engine.demo.addresses import parse_address
from engine.demo.build import build_demo
from engine.demo.drawing import Drawing
from engine.demo.live import Pace, draw_stream
from engine.demo.options import DemoOptions
from engine.demo.run import Demo
from engine.demo.streams import Stream
from engine.demo.video_files import VideoReader, VideoWriter
from tests.engine.test_demo_video import write_video
from utils.errors import EnvironmentFault, OptionError


class Camera:
    """A capture of `count` frames of `size` (H,W), one each `gap` seconds, whose pixels are its number / 20."""

    def __init__(self, count: int, gap: float = 0.0, size: tuple[int, int] = (48, 64)) -> None:
        self.count, self.gap, self.size, self.number = count, gap, size, 0

    def read(self):
        if self.number == self.count:
            return False, None
        time.sleep(self.gap)
        self.number += 1
        return True, np.full((*self.size, 3), self.number // 20 % 256, np.uint8)

    def get(self, key):
        return 20.0

    def release(self):
        pass


class Slow:
    """A model that sleeps, and keeps what it saw."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds, self.seen = seconds, []

    def label_image(self, image, name):
        time.sleep(self.seconds)
        self.seen.append(int(image[0, 0, 0]))
        return np.zeros(image.shape[:2], np.uint8)


class Nothing:
    """In place of `Drawing`."""

    def overlay(self, image, labels, steady):
        return image


@pytest.fixture
def quick(monkeypatch):
    """The program with a model that costs nothing."""
    drawing = Drawing(datasets.class_table("synthetic"))
    monkeypatch.setattr(demo_folder, "build_demo", lambda options, device: Demo(Slow(), drawing, options))


def options(folder, **more) -> DemoOptions:
    return DemoOptions(source="0", snapshot="x", save_dir=str(folder), show_fps=False, **more)


class Server:
    """An MJPEG stream that sends `plan[i]` frames to connection i and cuts it; where that is negative, it sends as many
    and is silent. Further connections get 404. Pixels are a frame's number / `UNIT`, from 0 again after `WRAP` frames.
    """

    UNIT, WRAP = 4, 1000

    def __init__(self, *plan: int, gap: float = 0.01) -> None:
        left, self.sent, self.ended = list(plan), 0, threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(handler):
                if not left or "missing" in handler.path:
                    return handler.send_error(404)
                handler.send_response(200)
                handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                handler.end_headers()
                number = left.pop(0)
                for _ in range(abs(number)):
                    handler.wfile.write(self.next())
                    time.sleep(gap)
                if number < 0:
                    self.ended.wait()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None  # clients that are gone
        self.url = f"http://me:secret@127.0.0.1:{self.server.server_port}/cam.mjpg?key=1"

    def next(self) -> bytes:
        self.sent += 1
        frame = np.full((48, 64, 3), self.sent % self.WRAP // self.UNIT, np.uint8)
        picture = cv2.imencode(".jpg", frame)[1].tobytes()
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
        return head.encode() + picture + b"\r\n"

    def lag(self, image: np.ndarray) -> int:
        """How many frames were sent after this one, to within `UNIT`."""
        return (self.sent - self.UNIT * int(image[0, 0, 0])) % self.WRAP

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.server.shutdown()
        self.server.server_close()


def test_addresses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parse_address("photos/*.png") is None and parse_address("0").target == 0
    address = parse_address("rtsp://me:secret@cam.local/live/1?token=2")
    assert (address.shown, address.name, address.place) == (
        "rtsp://cam.local/live/1",
        "cam.local_live_1",
        ("cam.local", 554),
    )
    assert parse_address("rtsp://me:secret@cam.local/live@1").name == "cam.local_live_1"
    (tmp_path / "0").mkdir()
    assert parse_address("0") is None  # what is there as a file is that
    for url in (
        "ftp://me:secret@host/x",
        "rtsp://",
        "http://host:port/x",
        "rtsp://me:my/secret@host/x",
        "rtsp://me:1/secret@h/x",
        "rtsp://me:1#secret@h",
        "rtsp://me:1?secret@h/x",
    ):
        with pytest.raises(OptionError, match="one of rtsp, rtsps, http, https") as caught:
            DemoOptions(source=url)
        assert "secret" not in str(caught.value)


def test_a_slow_model_gets_the_newest_frame(tmp_path):
    model, stream = Slow(0.04), Stream(lambda: Camera(120, 0.005), "a camera", 0.0)
    with pytest.raises(EnvironmentFault, match="a camera: broke off.*--reconnect"):
        draw_stream(stream, "cam", model, Nothing(), options(tmp_path))
    number = len(model.seen)
    assert 5 < number < 60 and stream.dropped == 120 - number
    assert model.seen[-1] >= 5  # those that came last
    assert [path.name for path in tmp_path.iterdir()] == ["overlay_cam.mp4"]  # kept, although the stream died
    video = VideoReader(tmp_path / "overlay_cam.mp4")
    assert video.rate == 20 and abs(len(list(video)) - 20 * number * 0.04) < 12  # plays in real time


def test_a_slow_model_does_not_fall_behind(tmp_path):
    """At one frame of ten: a queue would be 9 frames longer each time."""
    with Server(10**6, gap=0.003) as server:
        address, model, lags = parse_address(server.url), Slow(), []

        def label(image, name):
            time.sleep(0.03)
            lags.append(server.lag(image))
            return np.zeros(image.shape[:2], np.uint8)

        model.label_image = label
        stream = Stream(lambda: captures.open_capture(address), "it", 9.0)
        draw_stream(stream, "cam", model, Nothing(), options(tmp_path, max_frames=25))
    assert stream.dropped > 50 and max(lags[-10:]) < 100


@pytest.mark.parametrize("number", [12, -12])
def test_frames_continue_after_a_cut_and_after_silence(number, quick, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(captures.open_capture, "__defaults__", (0.3,))
    monkeypatch.setattr(streams, "PAUSE", 0.02)
    with Server(number, 10**6) as server:
        argv = ["--source", server.url, "--save_dir", tmp_path, "--device", "cpu", "--label_ids"]
        assert demo_folder.main([*map(str, argv), "--max_frames", "20", "--mask_video"]) == 0
    said = "".join(capfd.readouterr())
    assert said.count("127.0.0.1:") == said.count("broke off; trying again for 30 s") == 1
    assert f"overlay_127.0.0.1_cam.mjpg is in {tmp_path}: 20 frames drawn" in said and "1 breaks" in said
    assert "secret" not in said and "--label_ids: of images only" in said
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["color_mask_127.0.0.1_cam.mjpg.mp4", "overlay_127.0.0.1_cam.mjpg.mp4"]


def test_a_stream_that_comes_back_in_another_size_is_recorded_in_the_first(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "PAUSE", 0.01)
    cameras = iter([Camera(5, 0.01), Camera(10**6, 0.01, (96, 96))])
    stream = Stream(lambda: next(cameras), "it", 1.0)
    assert draw_stream(stream, "cam", Slow(), Nothing(), options(tmp_path, max_frames=12)) == 12
    assert {frame.shape for frame in VideoReader(tmp_path / "overlay_cam.mp4")} == {(48, 64, 3)}


def test_a_cut_is_said_once_and_the_stream_given_up_in_time(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "PAUSE", 0.02)
    with Server(5, 5, 5) as server:
        address = parse_address(server.url)
        stream, model, start = Stream(lambda: captures.open_capture(address), "it", 0.4), Slow(), time.monotonic()
        with pytest.raises(EnvironmentFault, match="broke off and didn't come back in 0.4 s"):
            draw_stream(stream, "cam", model, Nothing(), options(tmp_path))
    assert stream.breaks == 3 and len(model.seen) + stream.dropped == 15
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    "case, code, words",
    [
        ("camera", 5, "camera 97: can't be opened"),
        ("refused", 5, "can't be reached (Connection refused)"),
        ("no name", 5, "rtsp://cam..local/x: can't be reached"),
        ("silent", 5, "no answer in 0.3 s"),
        ("missing", 3, "answers, but not with a video"),
        ("file", 3, "a video file, not a live stream"),
    ],
)
def test_what_is_not_there_is_said(case, code, words, quick, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(captures.open_capture, "__defaults__", (0.3,))
    with Server() as server, socket.create_server(("127.0.0.1", 0)) as silent, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        host = "http://127.0.0.1:"
        source = {
            "camera": "97",
            "no name": "rtsp://cam..local/x",
            "refused": f"rtsp://127.0.0.1:{closed.getsockname()[1]}/x",
            "silent": f"{host}{silent.getsockname()[1]}/x",
            "missing": f"{host}{server.server.server_port}/missing",
        }.get(case, f"{host}{server.server.server_port}/clip.mp4")
        if case == "file":
            clip = write_video(tmp_path / "clip.mp4").read_bytes()
            monkeypatch.setattr(server.server.RequestHandlerClass, "do_GET", lambda self: send(self, clip))
        out = tmp_path / "out"
        argv = ["--source", source, "--save_dir", out, "--device", "cpu"]
        assert demo_folder.main([str(arg) for arg in argv]) == code
        said = capfd.readouterr().err
        assert said.count("\n") == 1 and said.startswith("error: ") and words in said
        assert not out.exists()


def send(handler: http.server.BaseHTTPRequestHandler, content: bytes) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "video/mp4")
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_recording(number, tmp_path):
    timer = threading.Timer(0.15, os.kill, (os.getpid(), number))
    timer.start()
    frames = draw_stream(Stream(lambda: Camera(10_000, 0.01), "it", 9.0), "cam", Slow(), Nothing(), options(tmp_path))
    assert frames and list(VideoReader(tmp_path / "overlay_cam.mp4"))


def test_seconds_end_it_and_an_earlier_recording_stays(tmp_path):
    for _ in range(2):
        stream = Stream(lambda: Camera(10_000, 0.005), "it", 9.0)
        draw_stream(stream, "cam", Slow(), Nothing(), options(tmp_path, seconds=0.1))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["overlay_cam.mp4", "overlay_cam_2.mp4"]


def test_a_recording_plays_in_real_time_and_shortens_breaks():
    pace = Pace(10.0)
    assert [pace.copies(100 + t) for t in (0.0, 0.01, 0.1, 0.5, 60.5, 60.6)] == [1, 0, 1, 4, 10, 1]


@pytest.mark.parametrize("angle", [90, 180, 270])
def test_a_phone_s_video_is_upright(angle, tmp_path):
    """As phones store them: the track's matrix says how far to turn clockwise."""
    path = write_video(tmp_path / "clip.mp4", size=(48, 64))
    data, fixed = bytearray(path.read_bytes()), 1 << 16
    cosine, sine = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[angle]
    place = data.index(b"tkhd") + 4 + 40  # version, times, track, duration, layer, volume
    for i, value in enumerate((cosine, sine, 0, -sine, cosine)):
        data[place + 4 * i : place + 4 * i + 4] = (fixed * value).to_bytes(4, "big", signed=True)
    path.write_bytes(data)
    frames = list(VideoReader(path))
    assert len(frames) == 12 and frames[0].shape == ((48, 64, 3) if angle == 180 else (64, 48, 3))


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
def test_ffmpeg_makes_h264(tmp_path):
    with VideoWriter(tmp_path / "out", 25) as writer:
        for _ in range(5):
            writer.write(np.full((49, 65, 3), (200, 40, 0), np.uint8))
    capture = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    assert int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little") in (b"h264", b"avc1")
    assert [frame.shape for frame in VideoReader(tmp_path / "out.mp4")] == [(48, 64, 3)] * 5


def test_an_ffmpeg_that_dies_leaves_no_file(tmp_path, monkeypatch):
    program, out = tmp_path / "ffmpeg", tmp_path / "out"
    program.write_text("#!/bin/sh\ncase $* in *-encoders) echo libx264;; esac\n")
    program.chmod(0o755)
    out.mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    h264._find.cache_clear()
    try:
        with pytest.raises(EnvironmentFault, match="free disk space"), VideoWriter(out / "a", 25) as writer:
            for _ in range(20):
                writer.write(np.zeros((480, 640, 3), np.uint8))
    finally:
        h264._find.cache_clear()
    assert not list(out.iterdir())


class Watched:
    """A model, after each frame of which `note` is called with the image."""

    def __init__(self, model, note) -> None:
        self.model, self.note = model, note

    def label_image(self, image, name):
        labels = self.model.label_image(image, name)
        self.note(image)
        return labels


@pytest.mark.slow
def test_ten_thousand_frames_without_a_slope(tmp_path, monkeypatch, capfd):
    """A stream, twice as fast as the program, is drawn by the small model: neither memory nor lag grows."""
    lags, memory, gap = [], [], 0.002

    def note(image):
        lags.append(1e3 * gap * server.lag(image))
        memory.append(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20)

    def build(options, device):
        demo = build_demo(options, device)
        return replace(demo, model=Watched(demo.model, note))

    monkeypatch.setattr(demo_folder, "build_demo", build)
    with Server(10**9, gap=gap) as server:
        argv = ["--source", server.url, "--save_dir", str(tmp_path), "--device", "cpu", "--amp", "off"]
        assert demo_folder.main([*argv, "--max_frames", "10000"]) == 0
    early, late = slice(2000, 4000), slice(8000, 10_000)
    lag = [float(np.median(lags[part])) for part in (early, late)]
    size = [max(memory[part]) for part in (early, late)]
    with capfd.disabled():
        print(f"\n{capfd.readouterr().out}frames 2,000 to 4,000 and 8,000 to 10,000: lag {lag} ms, memory {size} MiB")
    assert lag[1] < lag[0] + 50 and size[1] < size[0] + 5
