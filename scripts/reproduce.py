"""Re-derive a receipt of docs/results/: run its command, or score its snapshot, and compare within its tolerance.

Usage: python scripts/reproduce.py ID [--check SNAPSHOT] [--data_root DIR] [--out_folder DIR]
       python scripts/reproduce.py --list | --table [--verify]

The last line says whether the receipt holds. Exit codes: 0 it holds, 2 there is no such receipt or it states no
tolerance, 3 the data or what a page says is another, 4 the snapshot is another, 6 the scores are further off than the
tolerance, else the code of the step that failed.
"""

import sys
from pathlib import Path

if __name__ == "__main__":  # from anywhere, without installation, and before PyTorch is loaded
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from utils.machine import limit_spinning

    limit_spinning()

import argparse
from collections.abc import Sequence

import torch

import datasets
from datasets.options import find_root
from engine.inference.precision import settle_precision
from scripts.make_receipt import hash_split, present_revision, require_empty
from scripts.receipts.command import ROOT, Command, parse_command
from scripts.receipts.pages import render
from scripts.receipts.store import RESULTS, check_results, find_receipt, load_results
from utils.cli import run_main
from utils.errors import CheckpointError, DataError, NumericsError, OptionError
from utils.files import file_sha256, read_json, write_atomically
from utils.options import Parser

SAME_WEIGHTS = 0.001  # how far the mean IoU of the same weights may be off: another machine rounds otherwise
TEMPORARY = "runs/reproduce"


class NotReproduced(NumericsError):
    """The scores are further off than the tolerance."""


def check_data(receipt: dict, root: Path, cv: int) -> None:
    """Raise `DataError` unless the scored split in `root`, of a cross-validation split, is the receipt's pixels."""
    found = hash_split(datasets.build_split(receipt["dataset"], root, receipt["split"], cv))
    if found != receipt["data_sha256"]:
        raise DataError(
            f"{root}: {receipt['split']} isn't the receipt's (SHA-256 of its decoded images and labels {found[:12]},"
            f" there {receipt['data_sha256'][:12]}); use the variant that the receipt names: {receipt['variant']}"
        )


def check_snapshot(receipt: dict, snapshot: Path) -> None:
    """Raise `CheckpointError` unless the file is the receipt's."""
    found = file_sha256(snapshot) if snapshot.is_file() else None
    if found != receipt["weights_sha256"]:
        raise CheckpointError(
            f"{snapshot}: {'no such file' if found is None else f'SHA-256 {found[:12]}'}; --check takes the snapshot"
            f" with the receipt's SHA-256 {receipt['weights_sha256'][:12]}"
        )


def judge(receipt: dict, metrics: dict, allowed: float) -> str:
    """The verdict on what eval.py found. Raises `NotReproduced`."""
    difference = metrics["mean_iou"] - receipt["mean_iou"]
    said = f"mIoU {metrics['mean_iou']:.4f}, receipt {receipt['mean_iou']:.4f}, difference {difference:+.4f}"
    if abs(difference) > allowed:
        here = present_revision() or "unknown"
        raise NotReproduced(
            f"{receipt['id']}: does not hold: {said}, allowed {allowed:g}; compare revision"
            f" {receipt['revision'][:12]} with {here[:12]}, and versions and hardware with the receipt's"
        )
    return f"{receipt['id']}: holds: {said}, allowed {allowed:g}"


def reproduce(options: argparse.Namespace) -> None:
    """Run a receipt's command, or only its evaluation, and judge what it left."""
    receipt = find_receipt(options.id, options.results)
    stated, evaluated = receipt["tolerance"], receipt["metrics"]["protocol"]["amp"]
    trained = receipt.get("precision", evaluated)  # older receipts don't name it: it was alike
    chosen = settle_precision("auto", "training", torch.device("cpu"), receipt["arch"].partition(" on ")[0]).amp
    training = None if trained == chosen else trained
    command = parse_command(receipt["command"], options.id).in_precision(training, evaluated)
    if options.check is None and stated["mean_iou"] is None:
        raise OptionError(f"{options.id}: states no tolerance for training it again ({stated['covers']}); use --check")
    root, out = find_root(receipt["dataset"], options.data_root), options.out_folder or ROOT / TEMPORARY / options.id
    require_empty(out)
    if options.check is not None:
        check_snapshot(receipt, options.check)
    check_data(receipt, root, command.evaluation.cv_split)
    metrics = run(command, {"OUT": out.absolute(), "DATA": root.absolute()}, options.check)
    print(judge(receipt, metrics, stated["mean_iou"] if options.check is None else SAME_WEIGHTS))


def run(command: Command, places: dict[str, Path], snapshot: Path | None) -> dict:
    """The scores that the command leaves; with a snapshot, those that its evaluation alone leaves."""
    if snapshot is None:
        command.run(places)
    else:
        command.evaluate(places, snapshot.absolute())
    return read_json(command.left(places)[1] / "metrics.json")


def write_tables(results: Path, verify: bool) -> None:
    """Write the pages that are drawn from receipts, see `render`; with `verify`, only look.

    Raises:
        DataError: A score doesn't follow from the counts that are kept, or, with `verify`, a file is out of date.
    """
    if found := check_results(results):
        raise DataError("; ".join(found) + "; write it again with scripts/make_receipt.py or scripts/compare.py --json")
    stale = {path: text for path, text in render(results).items() if not path.exists() or path.read_text() != text}
    if stale and verify:
        raise DataError(f"{', '.join(map(str, stale))}: out of date; run scripts/reproduce.py --table")
    for path, text in stale.items():
        write_atomically(path, lambda file, text=text: file.write(text.encode()))
    print(f"written: {', '.join(map(str, stale))}" if stale else "receipts, tables and curves agree")


def list_receipts(results: Path) -> None:
    """Print a line for each receipt."""
    for name, receipt in load_results(results)[0].items():
        place = f"{receipt['dataset']} {receipt['split']}"
        print(
            f"{name:<32} {receipt['mean_iou']:.4f}  {receipt['seconds'] / 60:5.0f} min  {place:<20} {receipt['arch']}"
        )


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Checked options. Raises `OptionError`."""
    parser = Parser(prog="reproduce.py", description=__doc__.splitlines()[0])
    parser.add_argument("id", metavar="ID", nargs="?", help="name of a receipt")
    parser.add_argument(
        "--check", type=Path, metavar="SNAPSHOT", help="don't train: score the receipt's snapshot again"
    )
    parser.add_argument("--data_root", help="folder of the data set; unset: as in train.py")
    parser.add_argument("--out_folder", type=Path, help=f"empty folder for what it leaves; unset: {TEMPORARY}/ID")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the receipts")
    parser.add_argument("--list", action="store_true", help="name the receipts")
    parser.add_argument(
        "--table",
        action="store_true",
        help="write the tables and curves of README.md and docs/; of another --results its tables.md",
    )
    parser.add_argument("--verify", action="store_true", help="with --table: only say whether they are up to date")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    options = parser.parse_args(argv)
    if [options.id is not None, options.list, options.table].count(True) != 1:
        raise OptionError("reproduce.py: name one of ID, --list and --table; --help says more")
    if not options.results.is_dir():
        raise OptionError(f"--results {options.results}: no such folder")
    for name, needs in (("check", "id"), ("data_root", "id"), ("out_folder", "id"), ("verify", "table")):
        if getattr(options, name) and not getattr(options, needs):
            raise OptionError(f"--{name}: goes with {'ID' if needs == 'id' else '--table'} only; leave it out")
    return options


def body(argv: Sequence[str]) -> None:
    """Parse and do what is asked."""
    options = parse(argv)
    if options.list:
        list_receipts(options.results)
    elif options.table:
        write_tables(options.results, options.verify)
    else:
        reproduce(options)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(body, argv)


if __name__ == "__main__":
    sys.exit(main())
