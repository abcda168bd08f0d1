"""`benchmark.py latency`: how long a frame takes, not only in the middle: p50, p95 and p99, on two threads of a CPU.

Arms, images and gate are those of `cpu-demo` (cpu_demo.py); runtimes that aren't installed are left out. Arms take
turns of `TURN` frames, with --warmup untimed ones before each. Seconds, quantiles over --rounds frames:

- `p50` (also `median`), `p95`, `p99`: RGB (H,W,3) uint8 in memory -> train ids.
- `drawn`: the same with decoding the frame from JPEG before and drawing the overlay after it.
- `busy`, `busy_drawn`: both beside a process that takes a core for itself.
- `cold`: the first frame of a process that has just loaded the model, the median of `COLD` processes; what loading
  takes isn't in it.

Plain is timed in the first way only.
"""

import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from engine.demo.drawing import Drawing
from scripts.benchmarks.cpu_demo_arms import FORMATS, Trial, load_arm
from scripts.benchmarks.timing import spread
from utils.machine import keep_freed_memory

TURN = 20  # frames
COLD = 3  # processes
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
NEEDS = {  # packages, by format
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "openvino": ("onnx", "onnxscript", "openvino"),
    "openvino-int8": ("onnx", "onnxscript", "onnxruntime", "openvino"),
}
Call = Callable[[], object]


def installed_formats() -> tuple[str, ...]:
    """Those of `FORMATS` whose packages are here."""
    return tuple(format for format in FORMATS if all(map(find_spec, NEEDS[format])))


def time_latencies(trial: Trial, rounds: int, warmup: int) -> dict[str, dict]:
    """A row for each arm, as above; `spread` is the interquartile range, `ratio` plain's p50 over the arm's."""
    names = [name for name in trial.arms if name != "plain"]
    labels, drawn = trial.calls(), _drawn_calls(trial)
    quiet = sample(labels, rounds, warmup)
    rows = {
        name: {"median": statistics.median(values), "spread": spread(values), **quantiles(values)}
        for name, values in quiet.items()
    }
    for row in rows.values():
        row["ratio"] = rows["plain"]["median"] / row["median"]
    ours = {name: labels[name] for name in names}
    for key, calls, beside in (
        ("drawn", drawn, nullcontext()),
        ("busy", ours, busy_process()),
        ("busy_drawn", drawn, busy_process()),
    ):
        with beside:
            for name, values in sample(calls, rounds, warmup).items():
                rows[name][key] = quantiles(values)
    for name in names:  # last, because PyTorch's weights move into shared memory
        rows[name]["cold"] = statistics.median(first_frame(trial, name) for _ in range(min(COLD, rounds)))
    return rows


def quantiles(values: list[float]) -> dict[str, float]:
    """`QUANTILES` of seconds, between two values in proportion."""
    return {name: float(np.quantile(values, share)) for name, share in QUANTILES.items()}


def sample(calls: Mapping[str, Call], rounds: int, warmup: int) -> dict[str, list[float]]:
    """Seconds of `rounds` calls of each, by turns."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for start in range(0, rounds, TURN):
        for name, call in calls.items():
            keep_freed_memory(name != "plain")
            for turn in range(warmup + min(TURN, rounds - start)):
                begin = time.perf_counter()
                call()
                if turn >= warmup:
                    seconds[name].append(time.perf_counter() - begin)
    return seconds


def _drawn_calls(trial: Trial) -> dict[str, Call]:
    drawing = Drawing(trial.classes)
    photo = cv2.imencode(".jpg", cv2.cvtColor(trial.image, cv2.COLOR_RGB2BGR))[1]

    def draw(label: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        image = cv2.cvtColor(cv2.imdecode(photo, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        return drawing.overlay(image, label(image), steady=True)

    return {name: lambda label=label: draw(label) for name, label in trial.arms.items() if name != "plain"}


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


def first_frame(trial: Trial, name: str) -> float:
    """Seconds of an arm's first frame in a process of its own."""
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    fused = trial.fused if name.startswith("torch") else None
    arguments = sending, name, fused, trial.folder, trial.image, torch.get_num_threads()
    process = context.Process(target=_run_first_frame, args=arguments, daemon=True)
    process.start()
    sending.close()
    try:
        return receiving.recv()
    finally:
        process.join()


def _run_first_frame(
    pipe: Connection, name: str, fused: nn.Module | None, folder: Path, image: np.ndarray, threads: int
) -> None:
    torch.set_num_threads(threads)
    keep_freed_memory()
    label = load_arm(name, fused, folder)
    start = time.perf_counter()
    label(image)
    pipe.send(time.perf_counter() - start)
