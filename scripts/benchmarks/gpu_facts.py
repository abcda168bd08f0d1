"""First facts of a GPU: does everything run there, is it right, does the host wait, and how long does it take.

Usage: python scripts/benchmarks/gpu_facts.py --json FILE [--kernels triton] [--device cpu] [PART...]
PART: same, skipped, step, filter, loss, fuse, deterministic; unset: all, in this order (with Triton's kernels those
that have any). On a CPU everything is small, which tries these programs and measures nothing.

A row of `facts` has what was found and `ok`; one that raises has `error`. The file is written anew after each row, so
that a run that is stopped keeps what it found.
"""

import sys
from pathlib import Path

if __name__ == "__main__":  # from anywhere, without installation, and before PyTorch is loaded
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from utils.machine import limit_spinning

    limit_spinning()

import argparse
import os
from collections.abc import Sequence
from importlib import metadata
from importlib.util import find_spec

import torch

from scripts.benchmarks.facts import Place, Row
from scripts.benchmarks.part_facts import filter_rows, fuse_rows, loss_rows
from scripts.benchmarks.step_facts import deterministic_rows, same_rows, skipped_rows, step_rows
from scripts.benchmarks.timing import origin
from utils.cli import run_main
from utils.devices import FORMS, choose_device, device_name
from utils.errors import NumericsError, first_line
from utils.files import write_json
from utils.kernels import KERNELS, check_kernels
from utils.options import Parser

PARTS = {
    "same": same_rows,
    "skipped": skipped_rows,
    "step": step_rows,
    "filter": filter_rows,
    "loss": loss_rows,
    "fuse": fuse_rows,
    "deterministic": deterministic_rows,
}
OF_TRITON = ("same", "step", "filter", "loss", "fuse")
WORDS = 600  # letters of an error that are kept


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Checked options."""
    parser = Parser(prog="gpu_facts.py", description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; unset: all")
    parser.add_argument("--json", required=True, help="result file")
    parser.add_argument("--kernels", default="torch", choices=KERNELS, help="what computes loss and filters")
    parser.add_argument("--device", default="auto", type=device_name, help=f"device: {FORMS}")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    options = parser.parse_args(argv)
    for part in options.parts:
        if part not in PARTS:
            parser.error(f"{part}: no such part; choose of {', '.join(PARTS)}")
    options.parts = options.parts or list(PARTS if options.kernels == "torch" else OF_TRITON)
    return options


def find_out(name: str, row: Row) -> dict:
    """A row of the table; an exception is a finding too."""
    try:
        found = row()
    except Exception as error:  # whatever a device may answer
        found = {"ok": False, "error": f"{type(error).__name__}: {first_line(error)}"[:WORDS]}
    print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in found.items()), flush=True)
    return {"fact": name, **found}


def body(argv: Sequence[str]) -> None:
    """Parse, find out, write."""
    options = parse(argv)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # for `deterministic`, before CUDA starts
    device = choose_device(options.device)
    check_kernels(options.kernels, device)
    place = Place(device, options.kernels, small=device.type == "cpu")
    result = origin("scripts/benchmarks/gpu_facts.py", argv, device) | {"kernels": options.kernels, "facts": []}
    result["versions"] |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    if find_spec("triton"):
        result["versions"]["triton"] = metadata.version("triton")
    for part in options.parts:
        for name, row in PARTS[part](place):
            result["facts"].append(find_out(f"{part} {name}", row))
            write_json(options.json, result)
    failed = [fact["fact"] for fact in result["facts"] if not fact["ok"]]
    if failed:
        raise NumericsError(f"facts: {len(failed)} of {len(result['facts'])} failed: {'; '.join(failed)}")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(body, argv)


if __name__ == "__main__":
    sys.exit(main())
