"""What the enhancement modules of a trained FENet do: scores with each switched off, and what its filters learned.

Usage: python scripts/microscope.py SNAPSHOT --out DIR [--dataset D] [--data_root DIR] [--split S] [options of eval.py]

Predicts every image as trained, with FEM-D, FEM-S and both switched off, with only their filters switched off, and with
the mean filters that training started from; nothing is trained and no file of weights is changed. DIR/microscope.json
and DIR/report.html hold IoU near class boundaries and in the interior, of each class and with intervals over images,
which labels change, and the filters' frequency response beside the mean filter's. Images are predicted as eval.py does
with the same options.
"""

import sys
from pathlib import Path

if __name__ == "__main__":  # from anywhere, without installation, and before PyTorch is loaded
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from utils.machine import limit_spinning

    limit_spinning()

import argparse
from collections.abc import Sequence

from config import eval_parser
from engine.evaluation.options import EvalOptions
from scripts.microscopes.looking import open_microscope
from scripts.microscopes.page import choose_images, write_microscope_page
from scripts.microscopes.variants import TRAINED
from utils.cli import run_main
from utils.devices import choose_device
from utils.errors import OptionError
from utils.files import make_folder, write_json
from utils.logging import get_logger, setup_logging
from utils.options import check, collect

RESULT, PAGE = "microscope.json", "report.html"
USELESS = ("dump_images", "submission", "report", "boundary", "confidence", "resume", "compile")
USELESS += ("split_index", "split_count", "class_map", "instance_scores", "eval_thresholds")


def parse(argv: Sequence[str]) -> tuple[argparse.Namespace, EvalOptions]:
    """The microscope's own options, and those of eval.py. Raises `OptionError`."""
    parser = eval_parser()
    parser.prog, parser.description = "microscope.py", __doc__.splitlines()[0]
    parser.epilog = f"Of eval.py's options these are refused: {', '.join(f'--{name}' for name in USELESS)}."
    own = parser.add_argument_group("microscope")
    own.add_argument("snapshot", metavar="SNAPSHOT", help="of a FENet")
    own.add_argument("--out", dest="save_dir", default=argparse.SUPPRESS, help="output folder: = --save_dir")
    own.add_argument("--band", type=int, default=4, help="pixels to each side of a true boundary that are near it")
    own.add_argument("--images", type=int, default=3, help="images on the page, from most to fewest labels that change")
    found = parser.parse_args(argv)
    if not found.save_dir:
        raise OptionError("--out: name the output folder")
    check(found.band >= 1, "--band", found.band, "must be at least 1 pixel")
    check(found.images >= 0, "--images", found.images, "must not be negative")
    for name in USELESS:
        if getattr(found, name) != parser.get_default(name):
            raise OptionError(f"--{name}: belongs to eval.py; leave it out, the microscope's files are always the same")
    options = collect(EvalOptions, found)
    if options.exported:
        raise OptionError(f"{options.snapshot}: an exported graph has no parts to switch; give its snapshot")
    return found, options


def run(argv: Sequence[str]) -> None:
    """Parse, look, write."""
    own, options = parse(argv)
    setup_logging(True)
    for note in own.notes + options.notes():
        get_logger().info(note)
    microscope = open_microscope(options, choose_device(options.device), own.band)
    make_folder(options.folder, "--out")
    counts = microscope.count()
    result = microscope.describe(counts)
    write_json(options.folder / RESULT, result)
    write_microscope_page(options.folder / PAGE, microscope, result, choose_images(counts, own.images))
    for line in table(result):
        get_logger().info(line)
    get_logger().info(f"{result['num_images']} images; {options.folder / RESULT}, {options.folder / PAGE}")


def table(result: dict) -> list[str]:
    """Mean IoU of each variant in each place as lines; * where 0 is outside the interval of the difference."""
    places = list(result["variants"][TRAINED]["places"])
    lines = [f"{'mean IoU':<16}" + "".join(f"{place:>12}" for place in places)]
    for variant in result["variants"].values():
        cells = (f"{_text(variant['places'][place]):>12}" for place in places)
        lines.append(f"{variant['title']:<16}" + "".join(cells))
    return lines


def _text(row: dict) -> str:
    ends = row.get("difference_interval")
    mark = "*" if ends and not ends[0] <= 0 <= ends[1] else " "
    return "n/a " if row["mean_iou"] is None else f"{row['mean_iou']:.4f}{mark}"


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(run, argv)


if __name__ == "__main__":
    sys.exit(main())
