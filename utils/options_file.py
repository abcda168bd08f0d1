"""Options from a JSON file, such as `scripts/configure.py --out` writes; those of the command line win over them."""

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from utils.errors import OptionError

FLAG = "--options_from"


def add_options_file(parser: argparse.ArgumentParser) -> None:
    """Show the flag in the help; `with_options_file` takes it out before the parser sees it."""
    group = parser.add_argument_group("options from a file")
    group.add_argument(FLAG, metavar="FILE", help="a JSON file of options and values; the command line wins over it")


def with_options_file(argv: Sequence[str], names: Iterable[str]) -> list[str]:
    """The arguments, with those of `--options_from FILE` in front in its place.

    Args:
        argv: The command line.
        names: Options that the file may set.

    Raises:
        OptionError: The file is unreadable, or sets something else.
    """
    splitter = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    splitter.add_argument(FLAG, dest="file")
    try:
        found, rest = splitter.parse_known_args(argv)
    except argparse.ArgumentError:
        raise OptionError(f"{FLAG}: name a file") from None
    return rest if found.file is None else [*_arguments(found.file, set(names)), *rest]


def _arguments(path: str, names: set[str]) -> list[str]:
    try:
        options = json.loads(Path(path).read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise OptionError(
            f"{FLAG} {path}: cannot be read as JSON ({error}); make it with scripts/configure.py"
        ) from error
    if not isinstance(options, dict):
        raise OptionError(f"{FLAG} {path}: holds no options; it has to be an object of names and values")
    if unknown := sorted(set(options) - names):
        raise OptionError(f"{FLAG} {path}: {', '.join(unknown)}: no such option; remove it, and see --help")
    return as_arguments(options)


def as_arguments(options: Mapping[str, object]) -> list[str]:
    """Options by name as a command line has them; None leaves one at its default."""
    return [argument for name, value in options.items() for argument in _argument(name, value)]


def _argument(name: str, value: object) -> list[str]:
    if value is None:
        return []
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    return [f"--{name}={','.join(map(str, value)) if isinstance(value, list) else value}"]
