"""Parameters, operations, memory and speed of every model.

Usage: python scripts/model_table.py [--arch A,B] [--backbone NAME] [--size H,W] [--crop S] [--json FILE]

Parameters and GMAC are of the model as it is evaluated: auxiliary heads are left out. GMAC counts the multiplications
of convolutions and matrix products for one image (PyTorch's flop counter, halved). Training memory is the doctor's
estimate for one more crop (docs/doctor.md). Speed: images on the device -> class scores at the head's stride there,
batch 1, channels_last, in rounds that alternate over the models; median, first rounds not counted.
"""

import sys
from pathlib import Path

if __name__ == "__main__":  # from anywhere, without installation, and before PyTorch is loaded
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from utils.machine import limit_spinning

    limit_spinning()

import argparse
import copy
import statistics
import time
from collections.abc import Sequence

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import network
from config import parse_train
from engine.training.memory import build_step_memory
from network.registry import EXTRAS
from scripts.benchmarks.timing import hardware
from utils.cli import run_main
from utils.devices import FORMS, choose_device, device_name
from utils.errors import OptionError
from utils.files import write_json
from utils.options import Parser, numbers
from utils.options_file import as_arguments

NUM_CLASSES = 19
MIB = 2**20


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = Parser(prog="model_table.py", description=__doc__.splitlines()[0])
    parser.add_argument("--arch", help="names, separated by commas; unset: all models")
    parser.add_argument("--backbone", default="resnet18", help="timm's encoder of the models that need one named")
    parser.add_argument("--size", type=numbers(int), default=(512, 1024), help="height,width of the image")
    parser.add_argument("--crop", type=int, default=512, help="side of a training crop")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count; 0: no speed")
    parser.add_argument("--warmup", type=int, default=2, help="rounds before them")
    parser.add_argument("--device", default="auto", type=device_name, help=f"device of the speed: {FORMS}")
    parser.add_argument("--json", help="also write the figures to this file")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    options = parser.parse_args(argv)
    if len(options.size) != 2 or min(options.size) < 32:
        raise OptionError(f"--size {','.join(map(str, options.size))}: give height,width from 32 on")
    for name, least in (("crop", 32), ("rounds", 0), ("warmup", 0)):
        if getattr(options, name) < least:
            raise OptionError(f"--{name} {getattr(options, name)}: must be at least {least}")
    return options


def build(arch: str, backbone: str) -> nn.Module:
    """The model as it is evaluated."""
    options = {"backbone": backbone} if arch in EXTRAS else {}
    return network.build_model(arch, NUM_CLASSES, aux=False, **options).eval()


def giga_macs(model: nn.Module, size: Sequence[int]) -> float:
    """10^9 multiplications for one image of `size`."""
    model = copy.deepcopy(model).to("meta")  # where nothing is computed, and nothing is saved as on a CPU
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, *size, device="meta"))
    return counter.get_total_flops() / 2e9


def crop_memory(arch: str, backbone: str, crop: int) -> float:
    """Bytes that one more crop takes in training."""
    options = {"arch": arch, **({"backbone": backbone} if arch in EXTRAS else {})}
    memory = build_step_memory(parse_train(as_arguments(options)), NUM_CLASSES)
    return memory.total(2, crop, crop) - memory.total(1, crop, crop)


def seconds_per_image(models: dict[str, nn.Module], options: argparse.Namespace, device: torch.device) -> dict:
    """Seconds of each round that counts, by model."""
    image = torch.randn(1, 3, *options.size, device=device).contiguous(memory_format=torch.channels_last)
    seconds: dict[str, list[float]] = {arch: [] for arch in models}
    for turn in range(options.warmup + options.rounds):
        for arch, model in models.items():
            model.to(device, memory_format=torch.channels_last)
            if device.type == "cuda":
                torch.cuda.synchronize()
            start = time.perf_counter()
            with torch.inference_mode():
                model(image)
            if device.type == "cuda":
                torch.cuda.synchronize()
            if turn >= options.warmup:
                seconds[arch].append(time.perf_counter() - start)
    return seconds


def body(argv: Sequence[str]) -> None:
    """Parse, count, time, print, write."""
    options = parse(argv)
    archs = options.arch.split(",") if options.arch else network.list_models()
    device = choose_device(options.device)
    models = {arch: build(arch, options.backbone) for arch in archs}
    rows = {}
    for arch, model in models.items():
        rows[arch] = {
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "giga_macs": giga_macs(model, options.size),
            "crop_bytes": crop_memory(arch, options.backbone, options.crop),
        }
    if options.rounds:
        for arch, values in seconds_per_image(models, options, device).items():
            rows[arch] |= {"seconds": statistics.median(values), "seconds_range": [min(values), max(values)]}
    height, width = options.size
    print(f"| model | parameters, M | GMAC, {width}x{height} | MiB a crop of {options.crop} | ms an image |")
    print("| --- | --- | --- | --- | --- |")
    for arch, row in rows.items():
        speed = f"{1e3 * row['seconds']:.1f}" if "seconds" in row else "-"
        figures = f"{row['parameters'] / 1e6:.2f} | {row['giga_macs']:.1f} | {row['crop_bytes'] / MIB:.0f}"
        print(f"| {arch} | {figures} | {speed} |")
    if options.json:
        sizes = {"size": list(options.size), "crop": options.crop, "backbone": options.backbone}
        about = {"hardware": hardware(device), "rounds": options.rounds, "torch": torch.__version__}
        write_json(options.json, {"what": "model-table", "models": rows, "sizes": sizes, **about})


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(body, argv)


if __name__ == "__main__":
    sys.exit(main())
