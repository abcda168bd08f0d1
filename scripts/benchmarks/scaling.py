"""`benchmark.py scaling`: what a second process brings. Training steps of one gloo process alone, and of two under DDP.

Both processes have one thread and live through all rounds. In a round the first one makes a step alone while the
second sleeps, then both make a step together, each with as many crops as before. Efficiency is the time of the first
kind over that of the second: 1 if sharing gradients cost nothing. `max_error`: the gradients of both together against
the mean of what each finds alone, relative. Shares of the roofline are of that of one thread and of two.
"""

import argparse
import copy
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import Tensor, nn

import network
from engine.inference.precision import Precision
from engine.training.parallel import wrap_parallel
from engine.training.step import train_step
from loss import OhemCrossEntropy, SegmentationLoss
from optimizer import OptimizerOptions, build_optimizer, set_lr
from scripts.benchmarks.arms import build_without_dropout
from scripts.benchmarks.shares import RATES, Roofline, Work, count_operations
from scripts.benchmarks.timing import spread
from utils.distributed import Process, gather_objects, sum_over_ranks
from utils.errors import NumericsError, OptionError
from utils.files import write_json

PROCESSES, NUM_CLASSES, TOLERANCE = 2, 19, 1e-5
CPU = torch.device("cpu")


def measure_scaling(options: argparse.Namespace) -> dict:
    """Run the processes and return what goes into the JSON.

    Raises:
        OptionError: A model or precision that can't be trained here.
        NumericsError: Together they find other gradients.
    """
    network.build_model(options.arch, NUM_CLASSES)  # refused here, not in the processes
    if options.amp == "fp16":
        raise OptionError("--amp fp16: scaling is of CPUs, which train in bf16 or float32")
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results"
        torch.multiprocessing.spawn(_process, (options, Path(folder) / "store", results), PROCESSES)
        found = json.loads(results.read_text())
    if not found["error"] <= (TOLERANCE if options.tolerance is None else options.tolerance):
        raise NumericsError(f"scaling: the gradients of two processes are wrong by {found['error']}, relative")
    one, two = (statistics.median(found[name]) for name in ("one", "two"))
    arms = {name: {"median": statistics.median(found[name]), "spread": spread(found[name])} for name in ("one", "two")}
    arms["one"]["ratio"], arms["two"]["ratio"] = 1.0, PROCESSES * one / two
    roofline = _shares(arms, found["operations"], options.amp)
    return {
        "efficiency": one / two,
        "ratio": PROCESSES * one / two,
        "max_error": found["error"],
        "arms": arms,
        "roofline": roofline,
        "sizes": {"size": list(options.size), "batch": options.batch, "arch": options.arch, "amp": options.amp},
        "processes": PROCESSES,
        "threads_per_process": 1,
    }


def _shares(arms: dict[str, dict], operations: int, amp: str) -> dict | None:
    """`Roofline.add_shares`, of one thread and of as many as there are processes."""
    if amp not in RATES:
        return None
    threads, told = torch.get_num_threads(), {}
    for name, used in (("one", 1), ("two", PROCESSES)):
        torch.set_num_threads(used)
        work = {name: Work(used * operations)}
        told[name] = Roofline().add_shares({name: arms[name]}, work, {name: RATES[amp]})
    torch.set_num_threads(threads)
    return told


def _process(rank: int, options: argparse.Namespace, store: Path, results: Path) -> None:
    """One of the processes; the first leaves seconds per round and the error in `results`."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=PROCESSES)
    torch.manual_seed(0)
    model = build_without_dropout(options.arch, NUM_CLASSES).to(memory_format=torch.channels_last)
    own = copy.deepcopy(model)
    parallel = wrap_parallel(model, Process(rank, PROCESSES, CPU), static_graph=True)
    torch.manual_seed(1 + rank)
    labels = torch.randint(0, NUM_CLASSES, (options.batch, *options.size))
    batch = {"image": torch.randn(options.batch, 3, *options.size), "label": labels}
    alone, together = (_step(net, batch, options.amp) for net in (own, parallel))
    alone()
    together()
    expected = sum_over_ranks(_gradient(own)) / PROCESSES
    error = float((_gradient(model) - expected).abs().max() / expected.abs().max())
    seconds: dict[str, list[float]] = {"one": [], "two": []}
    for turn in range(options.warmup + options.rounds):
        for name, step, computes in (("one", alone, rank == 0), ("two", together, True)):
            dist.barrier()  # who waits here sleeps
            start = time.perf_counter()
            if computes:
                step()
            if turn >= options.warmup:
                seconds[name].append(time.perf_counter() - start)
    slowest = [max(both) for both in zip(*gather_objects(seconds["two"]), strict=True)]
    if rank == 0:
        operations = count_operations(alone)
        write_json(results, {"one": seconds["one"], "two": slowest, "error": error, "operations": operations})
    dist.barrier()
    dist.destroy_process_group()


def _step(model: nn.Module, batch: dict, amp: str) -> Callable[[], None]:
    """A training step as train.py makes it; its learning rate leaves the weights as they are."""
    optimizer = build_optimizer(model, OptimizerOptions(lr=1e-6))
    set_lr(optimizer, 0.0)
    precision, criterion = Precision.build(amp, CPU), SegmentationLoss(OhemCrossEntropy())

    def step() -> None:
        train_step(model.train(), criterion, optimizer, [batch], precision, CPU, torch.channels_last)

    return step


def _gradient(model: nn.Module) -> Tensor:
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
