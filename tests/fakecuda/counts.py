"""What training steps cost, in a table that is kept: python -m tests.fakecuda.counts writes it anew."""

import json
import sys
import tempfile
from pathlib import Path

import torch

import network
from network.registry import list_models
from tests.fakecuda.harness import carry_out, compile_guard, faults_of, obstacle, task
from tests.fakecuda.matrix import families

TABLE = Path(__file__).with_name("counts.json")
TOLERANCE = 0.05  # of each sum; PyTorch's releases differ by less
SMALL = "--arch fenet_tiny --amp bf16 --loss ohem --crop_size 256"


def size_of(name: str) -> int:
    """Parameters of a registered model."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in network.build_model(name, 19).parameters())


def lines() -> list[str]:
    """Options of the steps that are counted: a small one, the default model and each family's largest, of 2 x 1024."""
    largest = [max(names, key=size_of) for names in families(list_models()).values()]
    names = dict.fromkeys(["fenet_r18", *largest])
    return [SMALL, *(f"--arch {name} --amp bf16 --loss ohem --crop_size 1024" for name in names)]


def excess(counts: dict[str, int], kept: dict[str, int]) -> list[str]:
    """Sums that are above those that are kept by more than the tolerance, in words."""
    return [
        f"{name}: {counts[name]:,} are more than {limit:,}; if that is meant, run python -m tests.fakecuda.counts"
        for name, limit in kept.items()
        if counts[name] > (1 + TOLERANCE) * limit
    ]


def main() -> int:
    """Write the table."""
    if reason := obstacle():
        sys.exit(reason)
    with tempfile.TemporaryDirectory() as folder:
        tasks = {line: task("train", *line.split()) for line in lines()}
        results = carry_out(tasks, compile_guard(Path(folder)), Path(folder))
    if found := faults_of(results):
        sys.exit(found)
    table = {line: result["counts"] for line, result in results.items()}
    TABLE.write_text(json.dumps(table, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
