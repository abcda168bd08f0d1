"""What share of this CPU's roofline a benchmark reaches: the least time of what it computes over its time.

The least time is the larger of two: that of the plain formulation's multiply-adds (PyTorch's flop counter: convolutions
and products) at the rate of roofline.py's convolution in the arm's precision, measured in the same run, and, for the
loss and the filter, that of the bytes that have to be read and written once, at the rate of a copy. Both may be beaten:
by fewer multiply-adds than the definition has, or by maps that stay in a cache.
"""

import argparse
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from scripts.benchmarks.roofline import convolution_row, memory_row
from scripts.benchmarks.timing import Arms, reference_of

RATES = {"off": "float32", "bf16": "bf16"}  # of --amp


@dataclass(frozen=True)
class Work:
    """What a call cannot do without: operations (two for a multiply-add), and bytes read and written."""

    operations: int
    bytes: int = 0


def count_operations(plain: Callable[[], object]) -> int:
    """Operations of convolutions and products in a call of the plain formulation, not under `inference_mode`."""
    mapping = {torch.ops.aten.convolution_backward: _convolution_backward}
    with FlopCounterMode(display=False, custom_mapping=mapping) as counter:
        plain()
    return counter.get_total_flops()


def _convolution_backward(gradient: list, x: list, weight: list, *args: object, out_shape: tuple) -> int:
    """In place of PyTorch's, which counts the weight's gradient as if there were no groups; arguments are shapes."""
    (*_, transposed, _, _, wanted) = args
    return 2 * math.prod(x if transposed else gradient) * math.prod(weight[1:]) * sum(wanted[:2])


class Roofline:
    """Rates of this machine, each measured when first asked for."""

    def __init__(self) -> None:
        self.rates: dict[str, float] = {}

    def rate(self, arm: str) -> float:
        """`rate` of `conv_float32`, `conv_bf16`, `conv_int8` or `memory`."""
        if arm not in self.rates:
            row = memory_row() if arm == "memory" else convolution_row(arm.removeprefix("conv_"))
            self.rates[arm] = row["rate"]
        return self.rates[arm]

    def floor(self, work: Work, precision: str) -> float:
        """Seconds that `work` takes at least."""
        computed = 1e-9 * work.operations / self.rate(f"conv_{precision}")
        return max(computed, 1e-9 * work.bytes / self.rate("memory") if work.bytes else 0.0)

    def add_shares(self, rows: dict[str, dict], works: Mapping[str, Work], precisions: Mapping[str, str]) -> dict:
        """Give each row its `roofline_share`; returns what the JSON's `roofline` says.

        Args:
            rows: Of `time_arms`, by arm.
            works: By arm.
            precisions: `float32`, `bf16` or `int8`, by arm.
        """
        for name, row in rows.items():
            row["roofline_share"] = self.floor(works[name], precisions[name]) / row["median"]
        return {"rates": self.rates, "works": {name: asdict(works[name]) for name in rows}}


def arm_shares(options: argparse.Namespace, arms: Arms, rows: dict[str, dict]) -> dict | None:
    """`Roofline.add_shares` of `benchmark.py`'s arms in PyTorch; None with fp16, whose rate isn't measured."""
    if options.amp not in RATES:
        return None
    counted = {name: count_operations(arms[name]) for name in rows if name.startswith("plain")}
    works = {name: Work(counted[reference_of(name)], least_bytes(options, name)) for name in rows}
    precisions = {name: "float32" if name.startswith("plain") else RATES[options.amp] for name in rows}
    return Roofline().add_shares(rows, works, precisions)


def least_bytes(options: argparse.Namespace, arm: str) -> int:
    """Bytes that the loss or the filter reads and writes at least; 0 for what is bound by arithmetic."""
    height, width = options.size
    size = 2 if options.amp == "bf16" and not arm.startswith("plain") else 4
    pixels = options.batch * (height // 4) * (width // 4)
    if options.what == "loss":  # logits and their gradient, labels in int64
        return 2 * size * 19 * pixels + 8 * options.batch * height * width
    if options.what == "hpf":  # what goes in and out, and with the backward pass the gradients of both
        return (2 if arm.endswith("_forward") else 4) * size * 128 * pixels
    return 0
