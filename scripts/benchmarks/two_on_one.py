"""Two processes share one GPU over gloo: synchronised norms, DDP's static graph and steps, beside one with all crops.

Usage: python scripts/benchmarks/two_on_one.py --json FILE [--device cpu]

NCCL refuses two processes on one GPU, so that its own calls stay untried. `errors`: by memory layout, the norm of the
difference of weights and norm statistics after three steps in float32, over the norm of them all.
"""

import sys
from pathlib import Path

if __name__ == "__main__":  # from anywhere, without installation, and before PyTorch is loaded
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from utils.machine import limit_spinning

    limit_spinning()

import argparse
import tempfile
from collections.abc import Sequence

import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import Tensor

import network
from engine.inference.precision import Precision
from engine.training.parallel import wrap_parallel
from engine.training.step import train_step
from loss import LossOptions, build_loss
from optimizer import OptimizerOptions, build_optimizer
from scripts.benchmarks.facts import CLASSES, LAYOUTS, difference
from scripts.benchmarks.timing import origin
from utils.cli import run_main
from utils.devices import FORMS, choose_device, device_name
from utils.distributed import Process, broadcast_buffers
from utils.errors import NumericsError
from utils.files import write_atomically, write_json
from utils.options import Parser

CROPS, STEPS, TOLERANCE = 4, 3, 1e-3
SIDES = {"cuda": 128, "cpu": 64}


def train(process: Process, layout: torch.memory_format) -> Tensor:
    """Weights and norm statistics, (P,) float32 on the CPU, after steps on this process's part of the crops."""
    torch.manual_seed(0)
    device, world = process.device, process.world_size
    model = network.build_model("fenet_tiny", CLASSES, channels=16, dropout=0.0)
    model = network.synchronise_norms(model) if world > 1 else model
    model = model.to(device, memory_format=layout)
    parallel = wrap_parallel(model, process, static_graph=True).train()
    side, generator = SIDES[device.type], torch.Generator().manual_seed(1)
    images = torch.randn(CROPS, 3, side, side, generator=generator)
    labels = torch.randint(0, CLASSES, (CROPS, side, side), generator=generator)
    own = slice(CROPS * process.rank // world, CROPS * (process.rank + 1) // world)
    batch = {"image": images[own], "label": labels[own]}
    optimizer, precision = build_optimizer(model, OptimizerOptions(lr=1e-2)), Precision.build("off", device)
    criterion = build_loss(LossOptions(loss="ce"), CLASSES)
    for _ in range(STEPS):
        train_step(parallel, criterion, optimizer, [batch], precision, device, layout)
    broadcast_buffers(model)
    return torch.cat([value.detach().float().flatten().cpu() for value in model.state_dict().values()])


def run_process(rank: int, device: torch.device, folder: str) -> None:
    """One of the two processes; the first leaves its values in `folder`."""
    torch.backends.cudnn.allow_tf32 = False
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    found = {name: train(Process(rank, 2, device), layout) for name, layout in LAYOUTS.items()}
    if rank == 0:
        write_atomically(f"{folder}/found", lambda file: torch.save(found, file))
    dist.barrier()
    dist.destroy_process_group()


def body(argv: Sequence[str]) -> None:
    """Parse, train, compare, write."""
    parser = Parser(prog="two_on_one.py", description=__doc__.splitlines()[0])
    parser.add_argument("--json", required=True, help="result file")
    parser.add_argument("--device", default="auto", type=device_name, help=f"device: {FORMS}")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    options: argparse.Namespace = parser.parse_args(argv)
    device = choose_device(options.device)
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(run_process, (device, folder), 2)
        found = torch.load(f"{folder}/found", weights_only=True)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        expected = {name: train(Process(0, 1, device), layout) for name, layout in LAYOUTS.items()}
    errors = {name: difference(found[name], expected[name]) for name in LAYOUTS}
    result = origin("scripts/benchmarks/two_on_one.py", argv, device)
    write_json(options.json, result | {"errors": errors, "tolerance": TOLERANCE})
    print(f"two processes, off from one: {errors} (allowed {TOLERANCE:g})")
    if not max(errors.values()) <= TOLERANCE:
        raise NumericsError(f"two processes on {device}: off from one with all crops by {errors}")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(body, argv)


if __name__ == "__main__":
    sys.exit(main())
