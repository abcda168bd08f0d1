"""Turn labels of COCO, labelme or YOLO into a `folder` data set: images, masks of ids and classes.json.

Usage: python scripts/import_labels.py --format coco|labelme|yolo --labels PATH --images DIR --out DIR

Shapes are drawn in the order of the file, later ones over earlier ones. Where the source has folders or files for
train, val and test, they become the splits.
"""

import sys
from pathlib import Path

if __name__ == "__main__":  # from anywhere, without installation, and before PyTorch is loaded
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from utils.machine import limit_spinning

    limit_spinning()

import argparse
import shlex
from collections.abc import Sequence

from scripts.label_formats import coco, labelme, yolo
from scripts.label_formats.labelled import Labels
from scripts.label_formats.pairing import Pair, pair_photos
from scripts.label_formats.writing import Drawn, class_rows, write_folder
from utils.cli import run_main
from utils.constants import IGNORE_LABEL
from utils.errors import DataError, OptionError
from utils.logging import get_logger, setup_logging
from utils.options import Parser

READERS = {"coco": coco.read, "labelme": labelme.read, "yolo": yolo.read}


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Checked options. Raises `OptionError`."""
    parser = Parser(prog="import_labels.py", description=__doc__)
    parser.add_argument("--format", required=True, choices=READERS, help="CVAT, Label Studio and Roboflow export COCO")
    parser.add_argument("--labels", required=True, metavar="PATH", type=Path, help="file or folder of the labels")
    parser.add_argument("--images", required=True, metavar="DIR", type=Path, help="folder of the images")
    parser.add_argument("--out", required=True, metavar="DIR", type=Path, help="data set to write, new or empty")
    parser.add_argument(
        "--background",
        choices=("class", "ignore"),
        default="class",
        help=f"what no shape covers: the class background, id 0, or ignored ({IGNORE_LABEL})",
    )
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    options = parser.parse_args(argv)
    if not options.labels.exists():
        raise OptionError(f"--labels {options.labels}: not there; name the file or folder that the tool exported")
    if options.out.exists() and (not options.out.is_dir() or any(options.out.iterdir())):
        raise OptionError(f"--out {options.out}: not an empty folder; name a new one, or remove what is in it")
    if options.out.is_mount():
        raise OptionError(f"--out {options.out}: a mount point can't be replaced; name a folder in it")
    return options


def run(argv: Sequence[str]) -> None:
    """Read, pair, draw, and say what came of it."""
    options = parse(argv)
    setup_logging(True)
    labels = READERS[options.format](options.labels)
    pairs, unlabelled = pair_photos(labels.photos, options.images)
    if not pairs:
        raise DataError(f"{options.labels}: names no image; check --labels and --format, or export it again")
    ignore = options.background == "ignore"
    drawn = write_folder(pairs, labels.names, ignore, options.out)
    labels.notes["images without labels left out"] += unlabelled
    report(options, labels, pairs, drawn)


def report(options: argparse.Namespace, labels: Labels, pairs: list[Pair], drawn: Drawn) -> None:
    """A table of the classes, what was left out, and the next command."""
    log = get_logger().info
    rows = class_rows(labels.names, options.background == "ignore")
    rows.append({"name": "ignored", "id": IGNORE_LABEL})
    width = max(len(row["name"]) for row in rows)
    log(f"{'class':<{width}}  id   shapes  pixels")
    for row in rows:
        share = drawn.pixels[row["id"]] / drawn.pixels.sum()
        log(f"{row['name']:<{width}}  {row['id']:<3}  {drawn.shapes[row['id']]:<6}  {share:.2%}")
    splits = {split: sum(pair.split == split for pair in pairs) for split in (None, "train", "val", "test")}
    counts = ", ".join(f"{split or 'for train.py to divide'} {count}" for split, count in splits.items() if count)
    log(f"{len(pairs)} images ({counts})")
    if not splits["train"] and not splits[None]:
        log(f"note: no image is to train on: the names of files and folders, as {pairs[0].photo.where}, say the split")
    labels.notes["shapes cover no pixel's centre"] += drawn.empty
    labels.notes["images saved upright as PNG, as they were labelled: they only noted the camera's rotation"] += sum(
        pair.turn for pair in pairs
    )
    for what, count in (+labels.notes).items():
        log(f"note: {count} {what}")
    log(f"next: python scripts/doctor.py --dataset folder --data_root {shlex.quote(str(options.out))}")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(run, argv)


if __name__ == "__main__":
    sys.exit(main())
