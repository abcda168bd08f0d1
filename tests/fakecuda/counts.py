"""What training steps cost, in a table that is kept: python -m tests.fakecuda.counts writes it and docs/speed.md anew.

`python -m tests.fakecuda.counts --page` writes the page from the table that is there.
"""

import json
import re
import sys
import tempfile
from pathlib import Path

import torch

import network
from network.registry import list_models
from tests.fakecuda.harness import ROOT, carry_out, compile_guard, faults_of, obstacle, task
from tests.fakecuda.matrix import families

TABLE = Path(__file__).with_name("counts.json")
PAGE = ROOT / "docs" / "speed.md"
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


def page_with(table: dict[str, dict[str, int]], page: str) -> str:
    """docs/speed.md with these counts."""
    head = [
        "a training step, 2 crops",
        "kernels",
        "GiB read and written",
        "10^9 multiply-adds",
        "GiB saved for backward",
    ]
    rows = [head, ["---"] * len(head)]
    for line, counts in table.items():
        words = line.split()
        figures = [f"{counts['bytes'] / 2**30:.1f}", f"{counts['multiply_adds'] / 1e9:.0f}"]
        figures.append(f"{counts['saved_bytes'] / 2**30:.2f}")
        rows.append([f"`{words[1]}`, {words[-1]}", str(counts["kernels"]), *figures])
    text = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    new, places = re.subn(r"(<!-- counts -->\n).*?(\n<!-- end of counts -->)", rf"\1{text}\2", page, flags=re.DOTALL)
    assert places == 1, "docs/speed.md has no place for the counts"
    return new


def write_page() -> None:
    """Bring docs/speed.md up to date with the table."""
    PAGE.write_text(page_with(json.loads(TABLE.read_text()), PAGE.read_text()))


def main() -> int:
    """Write the table and the page."""
    if sys.argv[1:] == ["--page"]:
        write_page()
        return 0
    if reason := obstacle():
        sys.exit(reason)
    with tempfile.TemporaryDirectory() as folder:
        tasks = {line: task("train", *line.split()) for line in lines()}
        results = carry_out(tasks, compile_guard(Path(folder)), Path(folder))
    if found := faults_of(results):
        sys.exit(found)
    table = {line: result["counts"] for line, result in results.items()}
    TABLE.write_text(json.dumps(table, indent=1) + "\n")
    write_page()
    return 0


if __name__ == "__main__":
    sys.exit(main())
