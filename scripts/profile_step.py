"""Where the time of a training step goes: its share per part of the model, forward and backward, and per operation.

Usage: python scripts/profile_step.py --json FILE [--arch NAME] [--size H,W] [--batch N] [--amp bf16] [--device cuda]

The step is that of `benchmark.py train-step`. Times are what PyTorch's profiler sees: of the kernels on a GPU, of the
operations themselves on a CPU. An operation of the backward pass belongs to the part whose forward made it; `other` is
what stands between the parts, such as resizing and the checks of a step. `host_waits` counts how often in a step the
host waited for a GPU: never, if all is well.
"""

import sys
from pathlib import Path

if __name__ == "__main__":  # from anywhere, without installation, and before PyTorch is loaded
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from utils.machine import limit_spinning

    limit_spinning()

import argparse
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, record_function

import network
from engine.inference.precision import Precision
from engine.training.step import train_step
from loss import OhemCrossEntropy, SegmentationLoss
from optimizer import OptimizerOptions, build_optimizer
from scripts.benchmark import check_numbers
from scripts.benchmarks.timing import origin
from utils.cli import run_main
from utils.devices import FORMS, choose_device, device_name
from utils.files import write_json
from utils.options import Parser, numbers

MARK = "part: "
OPERATIONS = 12  # that are listed
WARMUP = 3
WAITS = ("cudaStreamSynchronize", "cudaEventSynchronize")


def mark(module: nn.Module, name: str) -> None:
    """Let the profiler see each call of `module` as part `name`."""
    running = []

    def enter(module: nn.Module, inputs: tuple) -> None:
        running.append(record_function(MARK + name))
        running[-1].__enter__()

    def leave(module: nn.Module, inputs: tuple, output: object) -> None:
        running.pop().__exit__(None, None, None)

    module.register_forward_pre_hook(enter)
    module.register_forward_hook(leave)


def mark_parts(model: nn.Module) -> None:
    """The parts of a model are its children; those of a list count together."""
    for name, child in model.named_children():
        for module in child if isinstance(child, nn.ModuleList) else [child]:
            mark(module, name)


def build_step(options: argparse.Namespace, device: torch.device) -> Callable[[], object]:
    """One optimizer step with OHEM on all heads, its parts marked."""
    model = network.build_model(options.arch, 19).to(device, memory_format=torch.channels_last).train()
    criterion = SegmentationLoss(OhemCrossEntropy())
    mark_parts(model)
    mark(criterion, "loss")
    optimizer = build_optimizer(model, OptimizerOptions(lr=1e-4))
    precision = Precision.build(options.amp, device)
    batch = {"image": torch.randn(options.batch, 3, *options.size, device=device)}
    batch["label"] = torch.randint(0, 19, (options.batch, *options.size), device=device)
    return lambda: train_step(model, criterion, optimizer, [batch], precision, device, torch.channels_last)


def lineage(event) -> Iterator:
    """An event of the profiler and what called it, innermost first."""
    while event is not None:
        yield event
        event = event.cpu_parent


def marked(event) -> str | None:
    """The part that an event ran in, or None."""
    return next((caller.name[len(MARK) :] for caller in lineage(event) if caller.name.startswith(MARK)), None)


def share_out(events: Sequence, on_device: bool) -> tuple[Counter, Counter]:
    """Microseconds per (part, direction), and per operation.

    A kernel's time is that of the operation that launched it; the profiler lists it again among the device's events,
    and there once more for each part that was marked.

    Args:
        events: Of the profiler.
        on_device: Count the kernels' time, not the operations'.
    """
    events = [event for event in events if event.device_type == DeviceType.CPU]
    made_by = {event.sequence_nr: part for event in events if event.sequence_nr >= 0 and (part := marked(event))}
    parts, operations = Counter(), Counter()
    for event in events:
        time = event.self_device_time_total if on_device else event.self_cpu_time_total
        if not event.name.startswith(MARK):
            operations[event.name] += time
        parts[place(event, made_by)] += time
    return parts, operations


def place(event, made_by: dict[int, str]) -> tuple[str, str]:
    """(part, `forward` or `backward`) of an event; `made_by`: number in the graph -> part whose forward made it."""
    if part := marked(event):
        return part, "forward"
    for caller in lineage(event):
        if caller.name.startswith("Optimizer."):
            return "optimizer", "forward"
        if caller.name.startswith("autograd::engine"):
            return made_by.get(caller.sequence_nr, "other"), "backward"
    return "other", "forward"


def summarise(parts: Counter, operations: Counter, steps: int) -> dict:
    """Shares of the whole, largest first."""
    total = sum(parts.values())
    names = sorted({name for name, _ in parts}, key=lambda name: -parts[name, "forward"] - parts[name, "backward"])
    rows = {name: {way: parts[name, way] / total for way in ("forward", "backward")} for name in names}
    return {
        "seconds": 1e-6 * total / steps,
        "parts": rows,
        "operations": {name: time / total for name, time in operations.most_common(OPERATIONS)},
    }


def body(argv: Sequence[str]) -> None:
    """Parse, run, count, write."""
    parser = Parser(prog="profile_step.py", description=__doc__.splitlines()[0])
    parser.add_argument("--json", required=True, help="result file")
    parser.add_argument("--arch", default="fenet_r18", help="model")
    parser.add_argument("--size", type=numbers(int), help="height,width; unset: 1024,1024 on CUDA, 256,256 on a CPU")
    parser.add_argument("--batch", type=int, default=2, help="crops")
    parser.add_argument("--steps", type=int, default=3, help="steps that count")
    parser.add_argument("--amp", choices=("off", "bf16", "fp16"), help="unset: bf16 on CUDA, off on a CPU")
    parser.add_argument("--device", default="auto", type=device_name, help=f"device: {FORMS}")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    options = parser.parse_args(argv)
    check_numbers(options, batch=2, steps=1)  # plain norms need two crops
    device = choose_device(options.device)
    cuda = device.type == "cuda"
    options.size = options.size or ((1024, 1024) if cuda else (256, 256))
    options.amp = options.amp or ("bf16" if cuda else "off")
    torch.backends.cudnn.benchmark = True
    step = build_step(options, device)
    for _ in range(WARMUP):
        step()
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]) as profiled:
        for _ in range(options.steps):
            step()
    events = profiled.events()
    result = summarise(*share_out(events, cuda), options.steps)
    result["host_waits"] = sum(event.name in WAITS for event in events) / options.steps
    result |= {"sizes": {"size": list(options.size), "batch": options.batch}}
    result |= {"arch": options.arch, "amp": options.amp} | origin("scripts/profile_step.py", argv, device)
    write_json(options.json, result)
    for name, row in result["parts"].items():
        print(f"{name:<16} forward {100 * row['forward']:5.1f} %  backward {100 * row['backward']:5.1f} %")
    for name, share in result["operations"].items():
        print(f"  {name:<60} {100 * share:5.1f} %")
    print(f"{1e3 * result['seconds']:.1f} ms a step; the next bottleneck: {next(iter(result['parts']))}")
    print(f"waits of the host a step: {result['host_waits']:g}")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(body, argv)


if __name__ == "__main__":
    sys.exit(main())
