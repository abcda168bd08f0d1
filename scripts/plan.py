"""The paper's 8-GPU recipe on your GPUs: as close as their number and memory allow, and what is not equivalent.

Usage: python scripts/plan.py --gpus N --memory GIB [--arch NAME] [--recipe cityscapes] [--out plan.json]

What it does: scripts/configuring/elsewhere.py. scripts/configure.py does it, too, and finds a configuration for other
data and for the time that there is.
"""

import sys
from pathlib import Path

if __name__ == "__main__":  # from anywhere, without installation, and before PyTorch is loaded
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from utils.machine import limit_spinning

    limit_spinning()

from collections.abc import Sequence

from scripts.configuring.elsewhere import DEFAULT_ARCH, add_gpu_options, plan_recipe
from utils.cli import run_main
from utils.files import write_json
from utils.options import Parser


def body(argv: Sequence[str]) -> None:
    """Parse, estimate, choose, print, write."""
    parser = Parser(prog="plan.py", description=__doc__.splitlines()[0])
    add_gpu_options(parser, required=True)
    parser.add_argument("--arch", default=DEFAULT_ARCH, help="model")
    parser.add_argument("--out", help="write the options to this file, for train.py --options_from")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    options = parser.parse_args(argv)
    found = plan_recipe(options.recipe, options.arch, options.gpus, options.memory)
    print("\n".join(found.lines))
    if options.out:
        write_json(options.out, found.options)
    print(found.command(options.out))


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(body, argv)


if __name__ == "__main__":
    sys.exit(main())
