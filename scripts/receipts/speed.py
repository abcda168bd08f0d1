"""The tables of the benchmarks that are kept, `docs/results/bench_*.json` and `gpu_*.json`."""

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


SPEED = ["what", "size", "on", "arm", "plain, ms", "ms", "times as fast", "of the roofline", "memory", "mIoU (plain's)"]
ROOFLINE = ["on", "arm", "GFLOP/s or GB/s", "times float32's", "by"]
REVISIONS = ["on", "run", "precision", "ms a step", "times as fast", "of the roofline", "losses apart", "at the end"]
SITUATIONS = ("drawn", "busy", "busy_drawn", "cold", "cold_drawn")
LATENCY = ["model", "size", "on", "frames", "arm", "p50", "p95", "p99"]
LATENCY += [*(name.replace("_", ", ") for name in SITUATIONS), "of the roofline"]
PROFILE = ["part", "forward, ms", "backward, ms"]


def speed_rows(results: Path) -> list[list[str]]:
    """As `SPEED` says, per arm of each benchmark but the plain ones."""
    rows = []
    for data in _benchmarks(results, *SUBJECTS):
        for name, arm in data["arms"].items():
            if not name.startswith("plain"):
                reference = data["arms"]["plain_forward" if name.endswith("_forward") else "plain"]
                rows.append([*_subject(data), f"`{name}`", *_figures(reference, arm)])
    return rows


def roofline_rows(results: Path) -> list[list[str]]:
    """As `ROOFLINE` says, per arm of each machine's."""
    return [
        [
            _where(data["hardware"]),
            f"`{name}`",
            f"{arm['rate']:.0f}",
            f"{arm['ratio']:.2f}",
            arm.get("runtime", "torch"),
        ]
        for data in _benchmarks(results, "roofline")
        for name, arm in data["arms"].items()
    ]


def latency_rows(results: Path) -> list[list[str]]:
    """As `LATENCY` says, in milliseconds, per arm; p50 / p99 where there is one column."""
    rows = []
    for data in _benchmarks(results, "latency"):
        size = "x".join(map(str, data["sizes"]["size"]))
        for name, arm in data["arms"].items():
            figures = [f"{1e3 * arm[key]:.1f}" for key in ("p50", "p95", "p99")]
            for key in SITUATIONS:
                figures.append(" / ".join(f"{1e3 * arm[key][end]:.1f}" for end in ("p50", "p99")) if key in arm else "")
            subject = [data["sizes"]["arch"], size, _where(data["hardware"]), str(data["rounds"])]
            rows.append([*subject, f"`{name}`", *figures, _share(arm)])
    return rows


def revision_rows(results: Path) -> list[list[str]]:
    """As `REVISIONS` says, per run: `before`, `now`, `other_seed`."""
    rows = []
    for data in _benchmarks(results, "revisions"):
        for name, arm in data["arms"].items():
            title = f"`{data['against'][:7]}`" if name == "before" else f"`{name}`"
            precision = "float32" if data["amps"][name] == "off" else data["amps"][name]
            figures = [precision, f"{1e3 * arm['median']:.0f}", f"{arm['ratio']:.2f}", _share(arm)]
            curve = data["curves"].get(name)
            apart = [f"{curve[key]:.3f}" for key in ("mean_difference", "end_difference")] if curve else ["", ""]
            rows.append([_where(data["hardware"]), title, *figures, *apart])
    return rows


def profile_rows(results: Path) -> list[list[str]]:
    """As `PROFILE` says, per part of each profiled step on a CPU, which a row of its own introduces."""
    rows = []
    for path in sorted(results.glob("bench_profile*.json")):
        data = json.loads(path.read_text())
        sizes, seconds = data["sizes"], data["seconds"]
        size = "x".join(map(str, [sizes["batch"], *sizes["size"]]))
        title = f"**{path.stem.removeprefix('bench_')}**: {data['arch']}, {size}, {data['amp']}"
        without = f"{1e3 * data['seconds_without_profiler']:.0f} without the profiler"
        rows.append([f"{title}, {_where(data['hardware'])}", f"{1e3 * seconds:.0f} in all", without])
        for name, part in data["parts"].items():
            rows.append([f"`{name}`", *(f"{1e3 * seconds * part[way]:.0f}" for way in ("forward", "backward"))])
    return rows


def _benchmarks(results: Path, *kinds: str) -> list[dict]:
    paths = sorted([*results.glob("bench_*.json"), *results.glob("gpu_*.json")])
    return [data for path in paths if (data := json.loads(path.read_text())).get("what") in kinds]


def _subject(data: dict) -> list[str]:
    sizes = data["sizes"]
    model = f", {sizes['arch']}" if data["what"] in OF_THE_MODEL else ""
    size = "x".join(map(str, [*([sizes["batch"]] if "batch" in sizes else []), *sizes["size"]]))
    precision = f", {sizes['amp']}" if sizes.get("amp", "off") != "off" else ""
    return [f"{SUBJECTS[data['what']]}{model}{precision}", size, _where(data["hardware"])]


def _where(hardware: dict) -> str:
    if hardware["device"] == "cuda":
        return hardware["name"]
    threads = "1 thread" if hardware["threads"] == 1 else f"{hardware['threads']} threads"
    return threads if hardware["name"] == "x86_64" else f"{hardware['name']}, {threads}"


def _share(arm: dict) -> str:
    return f"{arm['roofline_share']:.2f}" if "roofline_share" in arm else ""


def _figures(reference: dict, arm: dict) -> list[str]:
    times = [f"{1e3 * row['median']:.1f}" for row in (reference, arm)]
    memory = f"{arm['peak_memory_ratio']:.2f}" if "peak_memory_ratio" in arm else ""
    accuracy = ""
    if arm.get("mean_iou") is not None:
        accuracy = f"{percent(arm['mean_iou'], 1)} ({percent(reference['mean_iou'], 1)})"
    return [*times, f"{arm['ratio']:.2f}", _share(arm), memory, accuracy]
