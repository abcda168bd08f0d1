"""Arms of a benchmark: their results compared with the plain one's, their times in alternating rounds, their memory."""

import itertools
import os
import platform
import shlex
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from engine.inference.precision import FASTER
from utils.machine import keep_freed_memory, present_revision
from utils.processor import BF16, bf16_instructions

Arms = dict[str, Callable[[], torch.Tensor | tuple[torch.Tensor, ...]]]


def reference_of(arm: str) -> str:
    """The plain arm that `arm` is compared with: of the same kind, as `plain_forward` for `fused_forward`."""
    return "plain_forward" if arm.endswith("_forward") else "plain"


def errors_of(arms: Arms) -> dict[str, float]:
    """Per arm: share of labels that differ from the plain arm's, or the largest relative difference of values."""
    results = {name: [value.detach().clone() for value in _as_tuple(run())] for name, run in arms.items()}
    return {name: max(map(_error, values, results[reference_of(name)])) for name, values in results.items()}


def _as_tuple(result: torch.Tensor | tuple) -> tuple:
    """What an arm returns, as several tensors."""
    return result if isinstance(result, tuple) else (result,)


def _error(value: torch.Tensor, plain: torch.Tensor) -> float:
    if not value.is_floating_point():
        return float((value != plain).double().mean())
    return float((value - plain).abs().max() / plain.abs().max())


def time_arms(arms: Arms, rounds: int, warmup: int, device: torch.device) -> dict[str, dict]:
    """Seconds of each arm in alternating rounds, and its peak memory: all that CUDA holds, or on a CPU what it adds."""
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    peaks: dict[str, int] = {}
    cuda = device.type == "cuda"
    for turn in range(warmup + rounds):
        for name, run in arms.items():
            if not cuda:
                keep_freed_memory(not name.startswith("plain"))
                run()
            if cuda:
                torch.cuda.reset_peak_memory_stats()
                torch.cuda.synchronize()
            start = time.perf_counter()
            run()
            if cuda:
                torch.cuda.synchronize()
            taken = time.perf_counter() - start
            if cuda:
                peaks[name] = torch.cuda.max_memory_allocated()
            elif turn == 0:
                peaks[name] = peak_cpu_bytes(run)
            if turn >= warmup:
                seconds[name].append(taken)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    rows = {}
    for name, values in seconds.items():
        rows[name] = {"median": medians[name], "spread": spread(values)}
        rows[name]["ratio"] = medians[reference_of(name)] / medians[name]
        if peaks[name]:  # other runtimes' memory isn't PyTorch's, and isn't known
            rows[name]["peak_memory_ratio"] = peaks[name] / peaks[reference_of(name)]
    return rows


def peak_cpu_bytes(run: Callable[[], object]) -> int:
    """The most memory that tensors made in `run` take at once, counted by PyTorch's profiler."""
    with quiet_profile([ProfilerActivity.CPU], profile_memory=True) as profiled:
        run()
    events = [event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = itertools.accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns()))
    return max(held, default=0)


def quiet_profile(activities: Sequence[ProfilerActivity], **more: bool) -> profile:
    """PyTorch's profiler, whose library keeps its log (`USDT:...`) to itself unless the user asked for it."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # above its highest
    return profile(activities=activities, acc_events=True, **more)


def hardware(device: torch.device) -> dict:
    """What ran."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()[0]
    return {"device": device.type, "name": name, "threads": torch.get_num_threads()}


def processor() -> tuple[str, float]:
    """The processor's name with its instructions for bf16, and what `--amp auto` takes them to bring; 1: nothing."""
    try:
        lines = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
    except OSError:  # not Linux
        lines = []
    names = [value.strip() for name, _, value in lines if name.strip() == "model name"]
    found = next((name for name in BF16 if name in bf16_instructions()), None)
    return f"{names[0] if names else platform.machine()} ({found or 'no bf16'})", FASTER.get(found, 1.0)


def origin(program: str, argv: Sequence[str], device: torch.device) -> dict:
    """What ran, where, and of which revision."""
    return {
        "command": shlex.join(["python", program, *argv]),
        "revision": present_revision(),
        "hardware": hardware(device),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }


def spread(values: Sequence[float]) -> float:
    """Interquartile range."""
    quartiles = statistics.quantiles(values, n=4) if len(values) > 1 else [values[0]] * 3
    return quartiles[2] - quartiles[0]
