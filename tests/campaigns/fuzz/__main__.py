"""Fuzz the readers and the command lines.

Usage: python -m tests.campaigns.fuzz [TARGET ...] [--scale 0.1] [--seed 0] [--only N] [--json FILE]

Targets and cases at scale 1: images 5000, checkpoints 2000, flips 500, options 500; none named: all. Exits 1 if a case
does anything but what is documented: it crashes, prints a traceback, runs code, writes outside its folder, leaves an
unfinished file, takes too long or too much memory. `--only N` runs case N in this process and keeps its files.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import torch

from tests.campaigns.fuzz.campaign import Limits, run_campaign, run_case
from tests.campaigns.fuzz.guard import Guard
from tests.campaigns.fuzz.targets import TARGETS, build_target
from tests.campaigns.fuzz.world import build_world


def main(argv: list[str] | None = None) -> int:
    """Returns 0 where nothing was found."""
    options = parse(argv)
    torch.set_num_threads(1)
    folder = Path(options.folder or tempfile.mkdtemp(prefix="fuzz-"))
    world = build_world(folder)
    results = {}
    for name in options.targets or TARGETS:
        target = build_target(name, world)
        if options.only is not None:
            place = folder / "case"
            place.mkdir()
            print(run_case(name, target, options.only, options.seed, place, Guard(folder), Limits()), place)
            continue
        cases = range(max(1, round(options.scale * TARGETS[name])))
        summary = run_campaign(name, target, cases, options.seed, folder, Limits())
        results[name] = summary.plain()
        print(
            f"{name}: {summary.cases} cases, {len(summary.faults)} faults, {summary.seconds:.0f} s, slowest case "
            f"{summary.slowest_seconds:.1f} s, most memory {summary.most_memory >> 20} MiB, {dict(summary.outcomes)}"
        )
        for fault in summary.faults:
            print(f"    case {fault['case']}: {fault['what']}", flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps({"seed": options.seed, "targets": results}, indent=2) + "\n")
    return int(any(result["faults"] for result in results.values()))


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full number of cases")
    parser.add_argument("--seed", type=int, default=0, help="another seed makes other cases")
    parser.add_argument("--only", type=int, metavar="N", help="run this case alone, in this process")
    parser.add_argument("--folder", help="where the files go; unset: a new temporary folder")
    parser.add_argument("--json", metavar="FILE", help="write the results there")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
