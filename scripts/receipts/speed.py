"""The table of the benchmarks that are kept, `docs/results/bench_*.json` and `gpu_*.json`."""

import json
from pathlib import Path

from engine.report.formats import percent

SUBJECTS = {
    "cpu-demo": "an image's labels",
    "data": "a sample, CPU time",
    "eval": "seven scales, mirrored, sliding windows",
    "hpf": "9x9 filter, 128 channels at stride 4",
    "infer": "inference, whole image",
    "loss": "OHEM loss at stride 4 and its gradient",
    "train-step": "training step",
}
OF_THE_MODEL = ("cpu-demo", "eval", "infer", "train-step")


def speed_rows(results: Path) -> list[list[str]]:
    """Per arm of each benchmark: what, size, threads or GPU, arm, plain's and its milliseconds, ratio, memory, mIoU."""
    rows = []
    for path in sorted([*results.glob("bench_*.json"), *results.glob("gpu_*.json")]):
        data = json.loads(path.read_text())
        if data.get("what") not in SUBJECTS:
            continue
        for name, arm in data["arms"].items():
            if not name.startswith("plain"):
                reference = data["arms"]["plain_forward" if name.endswith("_forward") else "plain"]
                rows.append([*_subject(data), f"`{name}`", *_figures(reference, arm)])
    return rows


def _subject(data: dict) -> list[str]:
    sizes, hardware = data["sizes"], data["hardware"]
    model = f", {sizes['arch']}" if data["what"] in OF_THE_MODEL else ""
    where = hardware["name"] if hardware["device"] == "cuda" else f"{hardware['threads']} threads"
    size = "x".join(map(str, [*([sizes["batch"]] if "batch" in sizes else []), *sizes["size"]]))
    return [f"{SUBJECTS[data['what']]}{model}", size, where.replace("1 threads", "1 thread")]


def _figures(reference: dict, arm: dict) -> list[str]:
    times = [f"{1e3 * row['median']:.1f}" for row in (reference, arm)]
    memory = f"{arm['peak_memory_ratio']:.2f}" if "peak_memory_ratio" in arm else ""
    accuracy = ""
    if arm.get("mean_iou") is not None:
        accuracy = f"{percent(arm['mean_iou'], 1)} ({percent(reference['mean_iou'], 1)})"
    return [*times, f"{arm['ratio']:.2f}", memory, accuracy]
