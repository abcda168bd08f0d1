"""A configuration from the data: options of train.py, each with its reason, for a run that ends in the time given.

Usage: python scripts/configure.py --dataset D --data_root DIR [--hours H] [--arch NAME] --out FILE
       python scripts/configure.py --gpus N --memory GIB [--dataset D --data_root DIR] [--arch NAME] --out FILE

The first looks at the data and times the very run on this machine, in a temporary folder beside FILE; then
`python train.py --options_from FILE` trains, and ends within the hours. The second is scripts/plan.py, the 8-GPU recipe
on other GPUs, for other data, too. Why each option is as it is lies beside FILE, in `*.reasons.json`.
"""

import sys
from pathlib import Path

if __name__ == "__main__":  # from anywhere, without installation, and before PyTorch is loaded
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from utils.machine import limit_spinning

    limit_spinning()

import argparse
import os
import time
from collections.abc import Sequence

from config import parse_train
from network import resolve_arch
from scripts.configuring.choices import as_options, as_table, reasons_file
from scripts.configuring.elsewhere import DEFAULT_ARCH, add_gpu_options, check_gpus, fit_to_data, plan_recipe
from scripts.configuring.here import Wish, configure_here, next_commands
from utils.cli import run_main
from utils.devices import FORMS, choose_device, device_name, has_cuda
from utils.distributed import Process
from utils.errors import OptionError
from utils.files import make_folder, write_json
from utils.logging import setup_logging
from utils.options import Parser, finite
from utils.options_file import as_arguments

IMPORTS = time.process_time() if __name__ == "__main__" else 0.0  # seconds
HOURS, MOST_HOURS = 1.0, 10_000


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line. Raises `OptionError`."""
    parser = Parser(prog="configure.py", description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", help="data set; needed unless --gpus is given")
    parser.add_argument("--data_root", help="its folder; unset: $FENET_DATA/<dataset>, then ./data/<dataset>")
    parser.add_argument("--hours", type=finite, help=f"time for the whole training here; unset: {HOURS:g}, or --gpus")
    add_gpu_options(parser, required=False)
    parser.add_argument("--arch", help=f"model; unset: by what is installed, with --gpus {DEFAULT_ARCH}")
    parser.add_argument("--device", default="auto", type=device_name, help=f"device that is timed: {FORMS}")
    parser.add_argument("--out", required=True, help="JSON file of options, for train.py --options_from")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    options = parser.parse_args(argv)
    check(options)
    return options


def check(options: argparse.Namespace) -> None:
    """Raises `OptionError` for what can't work, whatever the data."""
    hours, gpus = options.hours, options.gpus
    if hours is not None and not 0 < hours <= MOST_HOURS:
        raise OptionError(f"--hours {hours:g}: must be above 0 and at most {MOST_HOURS}")
    if (gpus is None) != (options.memory is None):
        given, other = ("--gpus", "--memory GIB") if options.memory is None else ("--memory", "--gpus N")
        raise OptionError(f"{given}: needs {other}, too")
    if gpus is not None:
        check_gpus(gpus, options.memory)
    if gpus is not None and hours is not None and (gpus > 1 or not has_cuda()):
        raise OptionError(
            f"--gpus {gpus} --hours {hours:g}: time is measured on one device of this machine; leave out --hours for"
            " the 8-GPU recipe on those GPUs, or --gpus for what is here"
        )
    if options.dataset is None and (gpus is None or hours is not None):
        raise OptionError("--dataset: name the data set (folder: your own), or --gpus N --memory GIB for a recipe")
    if options.dataset is None and options.data_root is not None:
        raise OptionError(f"--data_root {options.data_root}: name its --dataset, too")
    if gpus is not None and hours is None and options.device != "auto":
        raise OptionError(f"--device {options.device}: nothing is timed for --gpus without --hours; leave it out")
    if gpus is not None and options.device == "cpu":
        raise OptionError("--device cpu --gpus: a run on GPUs is timed on one; leave one out")
    if options.arch is not None:
        resolve_arch(options.arch)
    if Path(options.out).is_dir():
        raise OptionError(f"--out {options.out}: is a folder; name a file in it")


def data_options(options: argparse.Namespace) -> dict:
    """`dataset` and `data_root` as train.py has them, wherever it is started. Raises `OptionError`."""
    if options.dataset is None:
        return {}
    data = parse_train(as_arguments({"dataset": options.dataset, "data_root": options.data_root})).data
    return {"dataset": data.dataset, "data_root": os.path.abspath(data.root)}


def body(argv: Sequence[str]) -> None:
    """Parse, look, choose, print, write."""
    options = parse(argv)
    setup_logging(False)
    if options.gpus is not None and options.hours is None:
        write_plan(options)
    else:
        write_run(options)


def write_plan(options: argparse.Namespace) -> None:
    """The 8-GPU recipe on the GPUs of the command line, for the data that is named."""
    own, data, arch = data_options(options), {}, options.arch or DEFAULT_ARCH
    if own:
        own, data["num_classes"] = fit_to_data(own, options.recipe, arch)
    make_folder(Path(options.out).parent, "--out")
    found = plan_recipe(options.recipe, arch, options.gpus, options.memory, own, **data)
    print("\n".join(found.lines))
    write(options.out, found.options, {"notes": found.lines})
    print(found.command(options.out))


def write_run(options: argparse.Namespace) -> None:
    """What fits into the hours on this machine."""
    hours, out = options.hours or HOURS, Path(options.out)
    wish = Wish(data_options(options), hours, options.arch, options.memory, IMPORTS)
    process = Process(0, 1, choose_device("cuda" if options.gpus and options.device == "auto" else options.device))
    outcome = configure_here(wish, process, lambda: make_folder(out.parent, "--out"), out.stem)
    print("\n".join([*as_table(outcome.choices), "", *next_commands(outcome, options.out, hours)]))
    write(options.out, as_options(outcome.choices), {"hours": hours} | outcome.reasons())


def write(out: str, options: dict, why: dict) -> None:
    """The options, and the reasons beside them."""
    write_json(out, options)
    write_json(reasons_file(Path(out)), why)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(body, argv)


if __name__ == "__main__":
    sys.exit(main())
