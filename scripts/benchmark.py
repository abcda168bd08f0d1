"""Time our code against its plain formulation, in alternating rounds in one process.

Usage: python scripts/benchmark.py WHAT --json FILE [options]
WHAT: train-step, loss, hpf, infer, eval, data, cpu-demo, latency, scaling, roofline, revisions, study-steps

Each arm's result is first checked against the plain one (`max_error`). Then rounds alternate over the arms; the first
ones are warm-up and don't count. Figures are medians in seconds, `spread` is the interquartile range, `ratio` is
plain / arm (higher is faster), `peak_memory_ratio` is arm / plain. On a CPU plain has glibc's malloc as it comes, and
our arms as our programs set it (utils/machine.py): an arm runs once untimed after each change, so that it is timed with
its memory in place. What each measures is described in scripts/benchmarks/: arms.py, data.py, cpu_demo.py, latency.py,
scaling.py, roofline.py, revisions.py, study_steps.py; `roofline_share`, on a CPU, in shares.py.
"""

import sys
from pathlib import Path

if __name__ == "__main__":  # from anywhere, without installation, and before PyTorch is loaded
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from utils.machine import limit_spinning

    limit_spinning()

import argparse
import functools
from collections.abc import Sequence

import torch

from scripts.benchmarks.arms import BUILDERS, measure_arms
from scripts.benchmarks.cpu_demo import measure_cpu_demo
from scripts.benchmarks.data import measure_data
from scripts.benchmarks.latency import installed_formats, time_latencies
from scripts.benchmarks.revisions import measure_revisions
from scripts.benchmarks.roofline import measure_roofline
from scripts.benchmarks.scaling import measure_scaling
from scripts.benchmarks.study_steps import measure_study_steps
from scripts.benchmarks.timing import origin, time_arms
from utils.cli import run_main
from utils.devices import FORMS, choose_device, device_name
from utils.errors import OptionError
from utils.files import write_json
from utils.kernels import KERNELS, check_kernels
from utils.options import Parser, finite, numbers

ON_CPU = ("cpu-demo", "latency", "scaling", "roofline", "revisions", "study-steps")


def check_numbers(options: argparse.Namespace, **least: int) -> None:
    """Raises `OptionError` for numbers that nothing can be timed with: below `least`, or a size of less than 32."""
    for name, lowest in least.items():
        value = getattr(options, name)
        if value is not None and value < lowest:
            raise OptionError(f"--{name} {value}: must be at least {lowest}")
    if options.size is not None and (len(options.size) != 2 or min(options.size) < 32):
        raise OptionError(f"--size {','.join(map(str, options.size))}: give height,width from 32 on")


def build_parser() -> Parser:
    """The command line."""
    parser = Parser(prog="benchmark.py", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=(*BUILDERS, "data", *ON_CPU))
    parser.add_argument("--json", required=True, help="result file")
    parser.add_argument("--arch", default="fenet_r18", help="model")
    parser.add_argument(
        "--size", type=numbers(int), help="height,width; unset: 1024 or 1024,2048 on CUDA, smaller on a CPU"
    )
    parser.add_argument("--batch", type=int, help="images; unset: 2 in training, else 1")
    parser.add_argument("--amp", choices=("off", "bf16", "fp16"), help="of our arm; unset: bf16 on CUDA, off on a CPU")
    parser.add_argument("--device", default="auto", type=device_name, help=f"device: {FORMS}")
    parser.add_argument(
        "--kernels",
        default="torch",
        choices=KERNELS,
        help="triton: loss and hpf get arms of it, which `ratio` leaves out",
    )
    parser.add_argument("--rounds", type=int, help="rounds that count; unset: 11, frames of latency: 200")
    parser.add_argument("--warmup", type=int, default=3, help="rounds before them")
    parser.add_argument(
        "--tolerance", type=finite, default=None, help="largest max_error; unset: 1e-4, or 0.05 with amp"
    )
    parser.add_argument("--snapshot", help="cpu-demo, latency: trained weights; unset: fresh ones")
    parser.add_argument(
        "--data_root",
        help="cpu-demo and latency with --snapshot, revisions: folder of the data set; unset: as in train.py",
    )
    parser.add_argument("--against", default="e4c9bae", help="revisions: the other one")
    parser.add_argument("--study", help="study-steps: STUDY.json, as scripts/study.py takes it")
    parser.add_argument("--steps", type=int, default=200, help="revisions, study-steps: steps of each run")
    parser.add_argument("--options", default="", help="revisions: further options of train.py, one string")
    parser.add_argument("--options_now", default="", help="revisions: those that only this tree gets")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser


def settle_sizes(options: argparse.Namespace, device: torch.device) -> None:
    """Fill in what was left open: size, rounds, batch, precision."""
    cuda, square = device.type == "cuda", options.what in ("train-step", "scaling")
    if options.what in ("data", "hpf"):
        options.size = options.size or (1024, 2048)
    if options.what in ("cpu-demo", "latency"):
        options.size = options.size or (512, 1024)
    if options.what == "eval" and not cuda:
        options.size = options.size or (128, 256)
    options.size = options.size or ((1024, 1024 if square else 2048) if cuda else (256, 256 if square else 512))
    options.rounds = options.rounds or (200 if options.what == "latency" else 11)
    options.batch = options.batch or (2 if square else 1)
    options.amp = options.amp or ("bf16" if cuda else "off")


def measure(options: argparse.Namespace, device: torch.device) -> dict:
    """What goes into the JSON of `options.what`."""
    if options.what == "roofline":
        return measure_roofline()
    if options.what == "revisions":
        return measure_revisions(options)
    if options.what == "study-steps":
        return measure_study_steps(options)
    if options.what == "data":
        return measure_data(options, device)
    if options.what == "cpu-demo":
        return measure_cpu_demo(options, lambda trial: time_arms(trial.calls(), options.rounds, options.warmup, device))
    if options.what == "latency":
        time_all = functools.partial(time_latencies, rounds=options.rounds, warmup=options.warmup)
        return measure_cpu_demo(options, time_all, installed_formats())
    return measure_scaling(options) if options.what == "scaling" else measure_arms(options, device)


def describe(name: str, row: dict) -> str:
    """A line about an arm."""
    line = f"{name:<16} {1e3 * row['median']:9.2f} ms +- {1e3 * row['spread']:.2f}  ratio {row['ratio']:.2f}"
    if "p99" in row:
        line += f"  p95 {1e3 * row['p95']:.2f}, p99 {1e3 * row['p99']:.2f}"
    if "roofline_share" in row:
        line += f"  {100 * row['roofline_share']:.0f} % of the roofline"
    if row.get("agreement") is not None:
        line += f"  {100 * row['agreement']:.3f} % of plain's labels, mIoU {100 * row['mean_iou']:.2f}"
    if "rate" in row:
        line += f"  {row['rate']:.0f} " + ("GB/s" if name == "memory" else "GFLOP/s")
    return line


def describe_bf16(expected: float, measured: float, agrees: bool) -> str:
    """Whether this machine is as `--amp auto` takes it to be, in words."""
    relation = "agrees with" if agrees else "DISAGREES with"
    return f"bf16: {measured:.2f} times float32's rate, which {relation} what --amp auto expects here, {expected:g}"


def body(argv: Sequence[str]) -> None:
    """Parse, check, time, write."""
    options = build_parser().parse_args(argv)
    check_numbers(options, rounds=1, warmup=0, batch=2 if options.what in ("train-step", "scaling") else 1, steps=2)
    device = choose_device("cpu" if options.what in ON_CPU else options.device)
    check_kernels(options.kernels, device)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = True
    settle_sizes(options, device)
    torch.manual_seed(0)
    result = {"what": options.what, "rounds": options.rounds} | measure(options, device)
    result |= origin("scripts/benchmark.py", argv, device)
    write_json(options.json, result)
    for name, row in result["arms"].items():
        print(describe(name, row))
    if "accuracy" in result:
        print(f"accuracy: {result['accuracy']}")
    if "bf16" in result:
        print(describe_bf16(**result["bf16"]))
    error = f"max error {result['max_error']:.2e}; " if "max_error" in result else ""
    print(f"{error}written to {options.json}")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(body, argv)


if __name__ == "__main__":
    sys.exit(main())
