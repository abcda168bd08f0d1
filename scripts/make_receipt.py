"""Write a receipt: what a score is, which command and weights gave it, and its interval.

Usage: python scripts/make_receipt.py ID --run DIR --eval DIR --data_root DIR --variant TEXT --command TEXT [--out FILE]

--run names what train.py left, --eval what eval.py left with --dump_images. The predictions are counted again from the
dumped files and have to give the matrix in metrics.json; the 95 % interval is a bootstrap over images.
"""

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import datasets
from config import IGNORE_LABEL
from datasets.base import Split
from datasets.reading import read_label
from utils.bootstrap import iou_intervals
from utils.cli import run_main
from utils.errors import DataError
from utils.files import file_sha256, write_json
from utils.metrics import confusion_matrix, scores
from utils.options import Parser

BOOTSTRAPS = 2000


def read_json(path: Path) -> dict:
    """The content of a JSON file. Raises `DataError` if it is missing or damaged."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); train or evaluate again") from error


def count_images(split: Split, folder: Path) -> np.ndarray:
    """Confusion matrix of each image (N,C,C) int64, from dumped label ids."""
    rows = []
    for index, name in enumerate(split.names):
        path = folder / "pred" / f"{name}.png"
        prediction = split.classes.to_train_ids(read_label(path), path)
        rows.append(confusion_matrix(prediction, split.load_label(index), split.classes.num_classes, IGNORE_LABEL))
    return np.stack(rows)


def bootstrap_interval(matrices: np.ndarray) -> list[float] | None:
    """95 % percentile interval of the mean IoU when images are drawn again with replacement."""
    common = matrices.diagonal(axis1=1, axis2=2)
    counts = np.stack([common, matrices.sum(1) + matrices.sum(2) - common], axis=-1)
    return iou_intervals(counts, BOOTSTRAPS)[1]


def hash_split(split: Split) -> str:
    """SHA-256 (hex) over the decoded images and labels of a split, in its order."""
    digest = hashlib.sha256()
    for index, name in enumerate(split.names):
        digest.update(name.encode())
        digest.update(split.load_image(index).tobytes())
        digest.update(split.load_label(index).tobytes())
    return digest.hexdigest()


def seconds_of(log: Path) -> float:
    """Wall-clock seconds between the first and last line of a training log."""
    times = [datetime.fromisoformat(line[:19]) for line in log.read_text().splitlines() if line[:2] == "20"]
    return (times[-1] - times[0]).total_seconds()


def describe_machine() -> str:
    """Processor, cores and GPU in words."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ", no GPU"
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores{gpu}"


def build_receipt(options: argparse.Namespace) -> dict:
    """The receipt as plain data.

    Raises:
        DataError: A file is missing, or the dumped predictions don't give the matrix in metrics.json.
    """
    run, folder = Path(options.run), Path(options.eval)
    metrics, config = read_json(folder / "metrics.json"), read_json(run / "config.json")
    if metrics["snapshot_sha256"] != file_sha256(run / "best.pth"):
        raise DataError(f"{folder / 'metrics.json'}: scores other weights than {run / 'best.pth'}; evaluate these")
    split = datasets.build_split(metrics["dataset"], options.data_root, metrics["split"])
    matrices = count_images(split, folder)
    if matrices.sum(0).tolist() != metrics["confusion_matrix"]:
        raise DataError(
            f"{folder / 'pred'}: doesn't give the matrix in metrics.json; evaluate again with --dump_images"
        )
    revision = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    recount = scores(matrices.sum(0), split.classes.names)
    return {
        "id": options.id,
        "dataset": metrics["dataset"],
        "variant": options.variant,
        "split": metrics["split"],
        "arch": config["arch"],
        "mean_iou": recount["mean_iou"],
        "interval": bootstrap_interval(matrices),
        "command": options.command,
        "revision": options.revision or revision,
        "data_sha256": hash_split(split),
        "weights_sha256": file_sha256(run / "best.pth"),
        "seed": config["seed"],
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        "hardware": describe_machine(),
        "seconds": seconds_of(run / "log.txt"),
        "metrics": {**recount, "num_images": len(split), "protocol": metrics["protocol"]},
    }


def body(argv: Sequence[str]) -> None:
    """Parse and write."""
    parser = Parser(prog="make_receipt.py", description=__doc__.splitlines()[0])
    parser.add_argument("id", help="name of the receipt")
    for name, text in (
        ("run", "folder that train.py left"),
        ("eval", "folder that eval.py left, with --dump_images"),
        ("data_root", "folder of the data set"),
        ("variant", "what is special about data and protocol"),
        ("command", "commands that re-derive it"),
    ):
        parser.add_argument(f"--{name}", required=True, help=text)
    parser.add_argument("--revision", help="commit that was trained; unset: the present one")
    parser.add_argument("--out", help="file; unset: docs/results/ID.json")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    options = parser.parse_args(argv)
    out = options.out or f"docs/results/{options.id}.json"
    receipt = build_receipt(options)
    write_json(out, receipt)
    print(f"{receipt['id']}: mIoU {receipt['mean_iou']:.4f}, 95 % interval {receipt['interval']}; written to {out}")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(body, argv)


if __name__ == "__main__":
    sys.exit(main())
