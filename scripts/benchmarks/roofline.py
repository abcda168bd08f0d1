"""`benchmark.py roofline`: what this machine's CPU computes and moves at most, with as many threads as PyTorch has.

Arms: `conv_float32`, `conv_bf16`, `conv_int8` (convolutions.py: 3x3, 128 -> 128 channels, 128x256, batch 1; the better
of PyTorch and OpenVINO, `runtime`), `product_float32`, `product_bf16`, `product_int8` (PyTorch's, square) and `memory`
(a large copy). `rate` counts direct multiply-adds, two operations each, in 10^9 a second, or 10^9 bytes a second read
and written. Medians are of `ROUNDS` calls. `ratio` is to the float32 arm of its kind; the one on top is that of the
faster of `conv_float32` and `conv_bf16`. `error`: the distance from the same in float32, relative, by norms. `bf16`
says whether bf16 pays here as `--amp auto` takes it to do on such a processor.
"""

import statistics
import time
from collections.abc import Callable

import torch

from scripts.benchmarks.convolutions import DTYPES, Sample, as_float, build_convolutions
from scripts.benchmarks.timing import processor, spread
from utils.errors import NumericsError
from utils.machine import keep_freed_memory

CONVOLVED, MULTIPLIED, COPIED = (128, 128, 256), 2048, 64 << 20  # (C,H,W); side of a matrix; float32 values
ROUNDS, WARMUP = 20, 5
TOLERANCES = {"float32": 1e-4, "bf16": 0.03, "int8": 0.1}
GAIN = 1.1  # less than that isn't called faster


def measure_roofline() -> dict:
    """What goes into the JSON.

    Raises:
        NumericsError: A convolution's result is wrong.
    """
    rows = {f"conv_{precision}": convolution_row(precision) for precision in TOLERANCES}
    rows |= {f"product_{precision}": product_row(precision) for precision in TOLERANCES}
    rows["memory"] = memory_row()
    for name, row in rows.items():
        base = name if name == "memory" else f"{name.split('_')[0]}_float32"
        row["ratio"] = row["rate"] / rows[base]["rate"]
    return {
        "bf16": compare_with_table(rows["conv_bf16"]["ratio"]),
        "ratio": max(rows[name]["ratio"] for name in ("conv_float32", "conv_bf16")),
        "max_error": rows["conv_float32"]["error"],
        "arms": rows,
        "rounds": ROUNDS,
        "sizes": {"channels": CONVOLVED[0], "size": list(CONVOLVED[1:]), "batch": 1, "product": MULTIPLIED},
    }


def compare_with_table(measured: float) -> dict:
    """Whether bf16 is as much faster here as `--amp auto` takes it to be.

    Args:
        measured: Rate of the bf16 convolution over that of the float32 one.
    """
    _, expected = processor()
    agrees = (measured > GAIN) == (expected > GAIN)
    return {"expected": expected, "measured": measured, "agrees": agrees}


def convolution_row(precision: str) -> dict:
    """Rate of the faster runtime's convolution. Raises `NumericsError` if its result is wrong."""
    sample, rows = Sample.draw(*CONVOLVED), []
    for runtime, convolutions in build_convolutions(sample, precision).items():
        expected = sample.result(convolutions.times, cut=precision == "int8")
        error = float((as_float(convolutions.run()) - expected).norm() / expected.norm())
        if not error <= TOLERANCES[precision]:
            raise NumericsError(f"roofline: the {precision} convolution of {runtime} is wrong by {error}, relative")
        row = timed(convolutions.run, convolutions.times)
        rows.append(row | {"rate": 1e-9 * sample.operations / row["median"], "runtime": runtime, "error": error})
    return max(rows, key=lambda row: row["rate"])


def product_row(precision: str) -> dict:
    """Rate of PyTorch's product of two square matrices."""
    if precision == "int8":
        a = torch.randint(-127, 128, (MULTIPLIED, MULTIPLIED), dtype=torch.int8)
        row = timed(lambda: torch._int_mm(a, a))
    else:
        a = torch.randn(MULTIPLIED, MULTIPLIED, dtype=DTYPES[precision])
        row = timed(lambda: a @ a)
    return row | {"rate": 2e-9 * MULTIPLIED**3 / row["median"]}


def memory_row() -> dict:
    """Bytes a second that a copy reads and writes."""
    source = torch.ones(COPIED)
    target = torch.zeros_like(source)
    row = timed(lambda: target.copy_(source))
    return row | {"rate": 2e-9 * source.numel() * source.element_size() / row["median"]}


def timed(run: Callable[[], object], times: int = 1) -> dict[str, float]:
    """Median and spread in seconds of `run`, which does `times` the same."""
    keep_freed_memory()
    seconds = []
    for turn in range(WARMUP + ROUNDS):
        start = time.perf_counter()
        run()
        if turn >= WARMUP:
            seconds.append((time.perf_counter() - start) / times)
    return {"median": statistics.median(seconds), "spread": spread(seconds)}
