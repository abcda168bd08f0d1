"""Check a zip for a benchmark server, or a folder of its PNGs, before it is uploaded.

Usage: python scripts/check_submission.py PATH [--dataset D] [--data_root DIR] [--split S]

PATH is a submission's zip, the same unzipped, or `pred/` of eval.py (or the folder that it is in). The images of the
split have to be in the data set's folder: names and sizes are theirs. The last line says whether a server would take
it; exit code 0 it would, 3 it wouldn't, with everything that is wrong.
"""

import sys
from pathlib import Path

if __name__ == "__main__":  # from anywhere, without installation, and before PyTorch is loaded
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from utils.machine import limit_spinning

    limit_spinning()

import argparse
from collections.abc import Sequence

import datasets
from datasets.options import find_root
from engine.evaluation.submission_check import check_submission, describe
from utils.cli import run_main
from utils.errors import DataError
from utils.logging import setup_logging
from utils.options import Parser


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Checked options. Raises `OptionError`."""
    parser = Parser(prog="check_submission.py", description=__doc__.splitlines()[0])
    parser.add_argument("path", metavar="PATH", type=Path, help="zip, or folder of PNGs")
    parser.add_argument("--dataset", default="cityscapes", help="data set that was predicted")
    parser.add_argument("--data_root", help="its folder; unset: as in eval.py")
    parser.add_argument("--split", default="test", help="split that was predicted")
    parser.add_argument("--cv_split", type=int, default=0, help="cross-validation split")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser.parse_args(argv)


def run(argv: Sequence[str]) -> None:
    """Parse, check, say."""
    options = parse(argv)
    log = setup_logging(True)
    path = options.path / "pred" if (options.path / "pred").is_dir() else options.path
    root = find_root(options.dataset, options.data_root)
    split = datasets.build_split(options.dataset, root, options.split, options.cv_split)
    wrong, doubtful = check_submission(path, split, progress=True)
    if doubtful:
        log.warning(f"{path}: {describe(doubtful)}: look at them before you upload")
    if wrong:
        raise DataError(
            f"{path}: no valid submission for {options.dataset} {options.split}: {describe(wrong)}; predict again with"
            " eval.py --submission FILE.zip, or mend these files"
        )
    print(f"{path}: {len(split)} predictions checked, a valid submission for {options.dataset} {options.split}")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(run, argv)


if __name__ == "__main__":
    sys.exit(main())
