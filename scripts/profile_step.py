"""Where the time of a training step goes: its share per part of the model, forward and backward, and per operation.

Usage: python scripts/profile_step.py --json FILE [--arch NAME] [--size H,W] [--batch N] [--amp bf16] [--device cuda]
           [OPTION of train.py...]

Without options of train.py the step is that of `benchmark.py train-step`; with some, model, loss, optimizer, averaging,
crops and their number are those that they name, as in:
python scripts/profile_step.py --json FILE --arch fenet --channels 64 --classes 11 $(grep ^- recipes/camvid_2cores.args)

Times are what PyTorch's profiler sees: of the kernels on a GPU, of the operations themselves on a CPU. An operation of
the backward pass belongs to the part whose forward made it; `other` is what stands between the parts, such as resizing
and the checks of a step. `unaccounted` is the rest of the step: Python, and what the profiler takes itself; on a GPU
the time without a kernel. So the rows add up to `seconds`, a profiled step; `seconds_without_profiler` is one as users
have it. `host_waits` counts how often in a step the host waited for a GPU: never, if all is well.
"""

import sys
from pathlib import Path

if __name__ == "__main__":  # from anywhere, without installation, and before PyTorch is loaded
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from utils.machine import limit_spinning

    limit_spinning()

import argparse
import time
from collections.abc import Callable, Sequence

import torch
from torch.profiler import ProfilerActivity, record_function

from config import TrainConfig, parse_train
from engine.inference.precision import Precision
from engine.training.build import create_model
from engine.training.step import train_step
from loss import build_loss
from optimizer import ModelAverage, build_optimizer
from scripts.benchmark import check_numbers
from scripts.benchmarks.step_parts import MARK, mark, mark_parts, share_out, summarise
from scripts.benchmarks.timing import origin, quiet_profile
from utils.cli import run_main
from utils.devices import FORMS, choose_device, device_name
from utils.files import write_json
from utils.options import Parser, numbers

WARMUP = 3
WAITS = ("cudaStreamSynchronize", "cudaEventSynchronize")


def build_step(options: argparse.Namespace, config: TrainConfig, device: torch.device) -> Callable[[], object]:
    """One optimizer step on random crops, its parts marked."""
    model = create_model(config, options.classes).to(device, memory_format=torch.channels_last).train()
    criterion = build_loss(config.loss, options.classes)
    mark_parts(model)
    mark(criterion, "loss")
    optimizer = build_optimizer(model, config.optimizer)
    average = ModelAverage(model, config.optimizer.ema) if config.optimizer.ema else None
    precision = Precision.build(options.amp, device)
    batch = {"image": torch.randn(options.batch, 3, *options.size, device=device)}
    batch["label"] = torch.randint(0, options.classes, (options.batch, *options.size), device=device)

    def step() -> None:
        _, applied = train_step(model, criterion, optimizer, [batch], precision, device, torch.channels_last)
        if average is not None:
            with record_function(f"{MARK}average"):
                average.update(model, applied)

    return step


def time_steps(step: Callable[[], object], steps: int, device: torch.device) -> float:
    """Seconds a step, the device's work included."""
    start = time.perf_counter()
    for _ in range(steps):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - start) / steps


def parse(argv: Sequence[str]) -> tuple[argparse.Namespace, TrainConfig, torch.device]:
    """The command line: our own options with nothing left open, what train.py makes of the others, and the device."""
    parser = Parser(prog="profile_step.py", description=__doc__.splitlines()[0])
    parser.add_argument("--json", required=True, help="result file")
    parser.add_argument("--arch", default="fenet_r18", help="model")
    parser.add_argument("--classes", type=int, default=19, help="number of classes")
    parser.add_argument(
        "--size",
        type=numbers(int),
        help="height,width; unset: 1024,1024 on CUDA, 256,256 on a CPU; with train.py's options its crop",
    )
    parser.add_argument("--batch", type=int, help="crops; unset: --bs_mult, else 2")
    parser.add_argument("--steps", type=int, default=3, help="steps that count")
    parser.add_argument("--amp", choices=("off", "bf16", "fp16"), help="unset: bf16 on CUDA, off on a CPU")
    parser.add_argument("--device", default="auto", type=device_name, help=f"device: {FORMS}")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    options, others = parser.parse_known_args(argv)
    check_numbers(options, batch=2, steps=1, classes=2)  # plain norms need two crops
    config = parse_train(["--arch", options.arch, *(others or ["--ohem", "--lr", "1e-4"])])
    device = choose_device(options.device)
    cuda = device.type == "cuda"
    side = config.augment.crop_size if others else 1024 if cuda else 256
    options.size = options.size or ((side, side) if isinstance(side, int) else side)
    options.batch = options.batch or (config.schedule.bs_mult if others else 2)
    options.amp = options.amp or ("bf16" if cuda else "off")
    return options, config, device


def body(argv: Sequence[str]) -> None:
    """Parse, run, count, write."""
    options, config, device = parse(argv)
    cuda = device.type == "cuda"
    torch.backends.cudnn.benchmark = True
    step = build_step(options, config, device)
    time_steps(step, WARMUP, device)
    unwatched = time_steps(step, options.steps, device)
    with quiet_profile([ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]) as profiled:
        seconds = time_steps(step, options.steps, device)
    events = profiled.events()
    result = summarise(*share_out(events, cuda), options.steps, seconds)
    result["seconds_without_profiler"] = unwatched
    result["host_waits"] = sum(event.name in WAITS for event in events) / options.steps
    result |= {"sizes": {"size": list(options.size), "batch": options.batch, "classes": options.classes}}
    result |= {"arch": options.arch, "amp": options.amp} | origin("scripts/profile_step.py", argv, device)
    write_json(options.json, result)
    for name, row in result["parts"].items():
        print(f"{name:<16} forward {100 * row['forward']:5.1f} %  backward {100 * row['backward']:5.1f} %")
    for name, share in result["operations"].items():
        print(f"  {name:<60} {100 * share:5.1f} %")
    print(f"{1e3 * unwatched:.1f} ms a step, {1e3 * seconds:.1f} with the profiler")
    print(f"the next bottleneck: {next(iter(result['parts']))}")
    print(f"waits of the host a step: {result['host_waits']:g}")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(body, argv)


if __name__ == "__main__":
    sys.exit(main())
