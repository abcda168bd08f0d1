"""Write docs/options.md from the parsers, or check that it is up to date.

Usage: python scripts/options_page.py [--verify]
"""

import sys
from pathlib import Path

if __name__ == "__main__":  # from anywhere, without installation, and before PyTorch is loaded
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from utils.machine import limit_spinning

    limit_spinning()

import argparse
from collections.abc import Iterator, Sequence

from config import demo_parser, eval_parser, train_parser
from utils.cli import run_main
from utils.errors import DataError
from utils.files import write_atomically
from utils.options import Parser

PAGE = Path(__file__).resolve().parents[1] / "docs" / "options.md"
HEAD = """# Options
Generated from the parsers by `python scripts/options_page.py`. A switch also has an off form: `--no-gblur`.
"""


def page() -> str:
    """The page in Markdown."""
    parts = [HEAD]
    for parser in (train_parser(), eval_parser(), demo_parser()):
        parts += [f"\n## {parser.prog}\n", *sections(parser)]
    return "".join(parts)


def sections(parser: Parser) -> Iterator[str]:
    """A table for each group of options."""
    for group in parser._action_groups:
        rows = [
            row(action) for action in group._group_actions if action.help not in (argparse.SUPPRESS, "the opposite")
        ]
        if rows and group.title not in ("options", "positional arguments"):
            yield (
                f"\n### {group.title.capitalize()}\n| option | default | |\n| --- | --- | --- |\n"
                + "\n".join(rows)
                + "\n"
            )


def row(action: argparse.Action) -> str:
    """A line of a table: spellings, default, help with the choices."""
    names = " ".join(f"`{name}`" for name in action.option_strings)
    value = action.default
    unset = value is None or value is False or value in ((), "", argparse.SUPPRESS)
    default = "" if unset or action.nargs == 0 and value is not True else f"`{text_of(value)}`"
    choices = f" ({', '.join(map(str, action.choices))})" if action.choices else ""
    return f"| {names} | {default} | {action.help.replace('%%', '%').replace('|', '/')}{choices} |"


def text_of(value: object) -> str:
    """A default as it is typed."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return {True: "on"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def run(argv: Sequence[str]) -> None:
    """Write or verify."""
    parser = Parser(prog="options_page.py", description=__doc__)
    parser.add_argument("--verify", action="store_true", help="only check that the page is up to date (else exit 3)")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    text = page()
    if not parser.parse_args(argv).verify:
        write_atomically(PAGE, lambda file: file.write(text.encode()))
    elif PAGE.read_text() != text:
        raise DataError(f"{PAGE}: out of date; run scripts/options_page.py")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(run, argv)


if __name__ == "__main__":
    sys.exit(main())
