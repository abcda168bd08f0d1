"""`benchmark.py latency`: how long a frame takes, not only in the middle: p50, p95 and p99, on two threads of a CPU.

Arms, images and gate are those of `cpu-demo` (cpu_demo.py); runtimes that aren't installed are left out. Arms take
turns of `TURN` frames, with --warmup untimed ones before each. Seconds, quantiles over --rounds frames:

- `p50` (also `median`), `p95`, `p99`: RGB (H,W,3) uint8 in memory -> train ids.
- `drawn`: the same frames with decoding them from JPEG before and drawing the overlay after it.
- `busy`, `busy_drawn`: both beside a process that takes a core for itself.
- `cold`, `cold_drawn`: both for the first frame of a process that has just loaded the model, quantiles over `COLD`
  processes; what loading takes isn't in it.

Plain is neither timed beside the busy process nor cold.
"""

import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path

import cv2
import numpy as np
import torch

from engine.demo.drawing import Drawing
from engine.export.parity import Label
from scripts.benchmarks.cpu_demo_arms import FORMATS, Trial, load_arm
from scripts.benchmarks.timing import spread
from utils.errors import EnvironmentFault
from utils.machine import keep_freed_memory
from utils.optional import import_torchvision

TURN = 20  # frames
COLD = 5  # processes
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
NEEDS = {  # packages, by format
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "openvino": ("onnx", "onnxscript", "openvino"),
    "openvino-int8": ("onnx", "onnxscript", "onnxruntime", "openvino"),
}


def installed_formats() -> tuple[str, ...]:
    """Those of `FORMATS` whose packages are here."""
    return tuple(format for format in FORMATS if all(map(find_spec, NEEDS[format])))


class Photo:
    """A frame as a camera sends it.

    Args:
        image: RGB (H,W,3) uint8.
        drawing: Predictions -> pictures.
    """

    def __init__(self, image: np.ndarray, drawing: Drawing) -> None:
        self.data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
        self.drawing = drawing

    def time(self, label: Label) -> tuple[float, float]:
        """Seconds of its labels, and of decoding, labels and drawing."""
        start = time.perf_counter()
        image = cv2.cvtColor(cv2.imdecode(self.data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        decoded = time.perf_counter()
        labels = label(image)
        labelled = time.perf_counter()
        self.drawing.overlay(image, labels, steady=True)
        return labelled - decoded, time.perf_counter() - start


def time_latencies(trial: Trial, rounds: int, warmup: int) -> dict[str, dict]:
    """A row for each arm, as above; `spread` is the interquartile range, `ratio` plain's p50 over the arm's."""
    photo = Photo(trial.image, Drawing(trial.classes))
    ours = {name: label for name, label in trial.arms.items() if name != "plain"}
    rows: dict[str, dict] = {}
    for name, pairs in sample(photo, trial.arms, rounds, warmup).items():
        labels, drawn = zip(*pairs, strict=True)
        rows[name] = {"median": statistics.median(labels), "spread": spread(labels)}
        rows[name] |= {**quantiles(labels), "drawn": quantiles(drawn)}
    for row in rows.values():
        row["ratio"] = rows["plain"]["median"] / row["median"]
    with busy_process():
        busy = sample(photo, ours, rounds, warmup)
    # last, because PyTorch's weights move into shared memory
    cold = {name: [first_frame(photo, trial, name) for _ in range(min(COLD, rounds))] for name in ours}
    for key, pairs_of in (("busy", busy), ("cold", cold)):
        for name, pairs in pairs_of.items():
            labels, drawn = zip(*pairs, strict=True)
            rows[name] |= {key: quantiles(labels), f"{key}_drawn": quantiles(drawn)}
    return rows


def quantiles(values: list[float]) -> dict[str, float]:
    """`QUANTILES` of seconds, between two values in proportion."""
    return {name: float(np.quantile(values, share)) for name, share in QUANTILES.items()}


def sample(photo: Photo, arms: dict[str, Label], rounds: int, warmup: int) -> dict[str, list[tuple[float, float]]]:
    """`Photo.time` of `rounds` frames of each arm, by turns."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in arms}
    for start in range(0, rounds, TURN):
        for name, label in arms.items():
            keep_freed_memory(name != "plain")
            for _ in range(warmup):
                photo.time(label)
            seconds[name] += [photo.time(label) for _ in range(min(TURN, rounds - start))]
    return seconds


@contextmanager
def busy_process() -> Iterator[None]:
    """A block beside which another process computes all the time; it ends with this one, however that ends."""
    loop = f"import os\nwhile os.getppid() == {os.getpid()}: sum(range(1000))"
    process = subprocess.Popen([sys.executable, "-c", loop])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def first_frame(photo: Photo, trial: Trial, name: str) -> tuple[float, float]:
    """`Photo.time` of an arm's first frame in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    arguments = theirs, photo, name, trial.folder, torch.get_num_threads()
    process = context.Process(target=_run_first_frame, args=arguments, daemon=True)
    process.start()
    theirs.close()
    try:
        ours.send(trial.fused if name.startswith("torch") else None)
        return ours.recv()
    except (EOFError, OSError) as error:
        raise EnvironmentFault(
            f"{name}: the process of its first frame ended early; is there enough memory?"
        ) from error
    finally:
        process.join()


def _run_first_frame(pipe: Connection, photo: Photo, name: str, folder: Path, threads: int) -> None:
    torch.set_num_threads(threads)
    keep_freed_memory()
    with suppress(ImportError):  # before a model with an encoder of timm is received
        import_torchvision()
    pipe.send(photo.time(load_arm(name, pipe.recv(), folder)))
