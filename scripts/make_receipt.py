"""Write a receipt: what a score is, which command and weights gave it, its interval, and what it may vary by.

Usage: python scripts/make_receipt.py ID --dataset D --out_folder DIR --command TEXT --title TEXT --variant TEXT
           --tolerance X --covers TEXT [--data_root DIR] [--execute]

The command is what `scripts/reproduce.py ID` will run: `python train.py ...` or `sh scripts/NAME.sh`, then `python
eval.py ... --dump_images`, joined by `&&`, with $OUT and $DATA for the folders. --out_folder is what $OUT was; with
--execute the command is run now. The predictions are counted again from the dumped files and have to give the matrix in
metrics.json; the 95 % interval is a bootstrap over images, whose counts are kept in docs/results/ID/.
"""

import sys
from pathlib import Path

if __name__ == "__main__":  # from anywhere, without installation, and before PyTorch is loaded
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from utils.machine import limit_spinning

    limit_spinning()

import argparse
import hashlib
import json
import platform
import re
from collections.abc import Sequence
from datetime import datetime

import numpy as np
import torch

import datasets
from datasets.base import Split
from datasets.options import find_root
from datasets.reading import read_label
from engine.evaluation.score_files import COUNTS, load_per_image
from engine.inference.predictor import scaled_size
from scripts.receipts.command import Command, parse_command
from scripts.receipts.store import CURVES, RESULTS, recount
from utils.cli import run_main
from utils.constants import IGNORE_LABEL
from utils.errors import DataError, OptionError
from utils.files import file_sha256, make_folder, read_json, write_atomically, write_json
from utils.machine import present_revision, usable_cores
from utils.metrics.confusion import confusion_matrix
from utils.options import Parser, finite

CURVE_KEYS = ("epoch", "step", "lr", "train_loss", "val_loss", "mean_iou", "pixel_accuracy")


def count_images(split: Split, folder: Path) -> np.ndarray:
    """Confusion matrix of each image (N,C,C) int64, from dumped label ids."""
    rows = []
    for index, name in enumerate(split.names):
        path = folder / "pred" / f"{name}.png"
        prediction = split.classes.to_train_ids(read_label(path), path)
        rows.append(confusion_matrix(prediction, split.load_label(index), split.classes.num_classes, IGNORE_LABEL))
    return np.stack(rows)


def hash_split(split: Split) -> str:
    """SHA-256 (hex) over the decoded images and labels of a split, in its order."""
    digest = hashlib.sha256()
    for index, name in enumerate(split.names):
        digest.update(name.encode("utf-8", "surrogateescape"))
        digest.update(split.load_image(index).tobytes())
        digest.update(split.load_label(index).tobytes())
    return digest.hexdigest()


def seconds_of(log: Path) -> float:
    """Wall-clock seconds of a training, from its log: of all processes that it took, since it was last begun anew.

    Raises:
        DataError: The log shows no training.
    """
    stretches, resumes = [], False
    for line in log.read_text(errors="replace").splitlines() if log.exists() else ():
        text = line[20:]
        if not re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", line):
            continue
        time = datetime.fromisoformat(line[:19])
        if text.startswith("resuming at step"):
            resumes = True
        elif text.startswith("command: "):
            stretches = [*(stretches if resumes else ()), [time, time]]
            resumes = False
        elif stretches and text.startswith(("epoch ", "stopped ", "final weights ")):
            stretches[-1][1] = time
    if not stretches:
        raise DataError(f"{log}: shows no training; name the folder that train.py wrote")
    return sum((end - start).total_seconds() for start, end in stretches)


def describe_machine() -> str:
    """Processor, cores and GPU in words."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ", no GPU"
    return f"{names[0] if names else platform.machine()}, {usable_cores()} cores{gpu}"


def check_scores(metrics: dict, command: Command, split: Split, folder: Path) -> None:
    """Raise `DataError` unless the command asks for just this evaluation and the dumped predictions give its counts."""
    asked = json.loads(json.dumps(command.evaluation.protocol()))
    if asked["amp"] == "auto":
        asked["amp"] = metrics["protocol"]["amp"]
    if metrics["protocol"] != asked or metrics["split"] != command.evaluation.split:
        raise DataError(f"{folder / 'metrics.json'}: not what --command evaluates; run its eval.py, or mend --command")
    matrices, (kept, _) = count_images(split, folder), load_per_image(folder)
    if not np.array_equal(matrices, [image.confusion for image in kept.images]):
        raise DataError(f"{folder / 'pred'}: doesn't give the counts in {COUNTS}; evaluate again with --dump_images")
    if matrices.sum(0).tolist() != metrics["confusion_matrix"]:
        raise DataError(f"{folder / 'pred'}: doesn't give the matrix in metrics.json; evaluate with --dump_images")


def build_receipt(options: argparse.Namespace, command: Command, snapshot: Path, folder: Path) -> dict:
    """The receipt's fields after its id; `snapshot` lies in what train.py left, `folder` is what eval.py left.

    Raises:
        DataError: A file is missing, or what was left doesn't fit together.
    """
    metrics, config = read_json(folder / "metrics.json"), read_json(snapshot.with_name("config.json"))
    if metrics["dataset"] != options.dataset:
        raise DataError(f"{folder / 'metrics.json'}: of {metrics['dataset']}; say so with --dataset")
    if not snapshot.is_file() or metrics["snapshot_sha256"] != file_sha256(snapshot):
        raise DataError(f"{folder / 'metrics.json'}: scores other weights than {snapshot}; evaluate these")
    root = find_root(options.dataset, options.data_root)
    split = datasets.build_split(options.dataset, root, metrics["split"], command.evaluation.cv_split)
    check_scores(metrics, command, split, folder)
    again = recount(folder)
    backbone = f" on {config['backbone']}" if config["backbone"] else ""
    here = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
    return {
        "title": options.title,
        "dataset": metrics["dataset"],
        "variant": options.variant,
        "split": metrics["split"],
        "arch": f"{config['arch']}{backbone}",
        "mean_iou": again["mean_iou"],
        "interval": again["interval"],
        "command": options.command,
        "tolerance": {"mean_iou": options.tolerance, "covers": options.covers},
        "revision": options.revision or config.get("revision") or present_revision(),
        "data_sha256": hash_split(split),
        "weights_sha256": file_sha256(snapshot),
        "seed": config["seed"],
        "precision": config["amp"],
        "recipe": options.recipe or options.id,
        "train_split": config["train_split"],
        "input_size": list(scaled_size(split.image_size(0), metrics["protocol"]["base_size"], 1.0)),
        "scales": metrics["protocol"]["scales"],
        "flip": metrics["protocol"]["flip"],
        "budget_seconds": options.budget_seconds,
        "device": config["device"].partition(":")[0],
        "versions": {name: config.get("versions", here)[name] for name in here},
        "hardware": options.hardware or describe_machine(),
        "seconds": seconds_of(snapshot.with_name("log.txt")),
        "metrics": {**again["metrics"], "num_images": len(split), "protocol": metrics["protocol"]},
    }


def read_curves(metrics: Path) -> bytes:
    """The scalar columns of a run's `metrics.jsonl`, in its form. Raises `DataError` where it is missing or damaged."""
    try:
        rows = [json.loads(line) for line in metrics.read_text().splitlines()]
        kept = [json.dumps({key: row[key] for key in CURVE_KEYS if key in row}) + "\n" for row in rows]
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{metrics}: cannot be read ({error}); train again") from error
    return "".join(kept).encode()


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Checked options. Raises `OptionError`."""
    parser = Parser(prog="make_receipt.py", description=__doc__.splitlines()[0])
    parser.add_argument("id", metavar="ID", help="name of the receipt")
    for name, text in (
        ("out_folder", "folder that $OUT stands for"),
        ("dataset", "data set that is trained and scored on"),
        ("command", "what re-derives it, with $OUT and $DATA"),
        ("title", "how it was trained, in a few words for the tables"),
        ("variant", "what is special about data and protocol"),
        ("covers", "what the tolerance covers, such as another CPU, and what it was measured on"),
    ):
        parser.add_argument(f"--{name}", required=True, help=text)
    parser.add_argument("--tolerance", required=True, type=finite, help="largest difference of mean IoU, 0 to 1")
    parser.add_argument("--data_root", help="folder of the data set; unset: as in eval.py")
    parser.add_argument("--execute", action="store_true", help="run the command first; the folder has to be new")
    parser.add_argument("--recipe", help="name that receipts of other seeds of the same recipe share; unset: the id")
    parser.add_argument("--budget_seconds", type=finite, help="training time that the recipe is made for; unset: none")
    parser.add_argument("--revision", help="commit that was trained; unset: as the run says, else the present one")
    parser.add_argument("--hardware", help="what it was trained on; unset: this machine")
    parser.add_argument("--out", type=Path, help="file; unset: docs/results/ID.json")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    options = parser.parse_args(argv)
    if not 0 <= options.tolerance <= 1:
        raise OptionError(f"--tolerance {options.tolerance}: must be from 0 to 1")
    if options.budget_seconds is not None and options.budget_seconds <= 0:
        raise OptionError(f"--budget_seconds {options.budget_seconds:g}: must be more than 0")
    if options.out is not None and options.out.suffix != ".json":
        raise OptionError(f"--out {options.out}: name a file that ends in .json; a folder goes beside it")
    if options.execute and not (options.revision or present_revision()):
        raise OptionError("--revision: this is no git checkout that could tell; name the commit that is trained")
    return options


def body(argv: Sequence[str]) -> None:
    """Parse, run the command where asked to, and write."""
    options = parse(argv)
    out = options.out or RESULTS / f"{options.id}.json"
    command = parse_command(options.command, "--command")
    root = find_root(options.dataset, options.data_root)
    places = {"OUT": Path(options.out_folder).absolute(), "DATA": root.absolute()}
    if options.execute:
        require_empty(places["OUT"])
        command.run(places)
    snapshot, folder = command.left(places)
    receipt = {"id": out.stem} | build_receipt(options, command, snapshot, folder)
    if receipt["revision"] is None:
        raise OptionError("--revision: neither the run nor a git checkout tells; name the commit that was trained")
    files = {COUNTS: (folder / COUNTS).read_bytes(), CURVES: read_curves(snapshot.with_name(CURVES))}
    kept = make_folder(out.with_suffix(""), "--out")
    for name, content in files.items():
        write_atomically(kept / name, lambda file, content=content: file.write(content))
    write_json(out, receipt)
    print(f"{out.stem}: mIoU {receipt['mean_iou']:.4f}, 95 % interval {receipt['interval']}; written to {out}")


def require_empty(folder: Path) -> None:
    """Raise `OptionError` where there is something in the folder that a command is to fill."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OptionError(f"--out_folder {folder}: not an empty folder; name a new one")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(body, argv)


if __name__ == "__main__":
    sys.exit(main())
