"""Every program of the repository, by name: the entry points and the scripts."""

import importlib
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
# they start (and kill) processes of their own or write into the repository: nobody calls them with random options
DRIVERS = ("chaos", "supervised", "reproduce", "options_page")


def programs() -> dict[str, Callable]:
    """`main` of the entry points and of all scripts that have one, by name."""
    names = ["train", "eval", "demo_folder"]
    for path in sorted((ROOT / "scripts").glob("*.py")):
        if "\ndef main(" in path.read_text() and path.stem not in DRIVERS:
            names.append(f"scripts.{path.stem}")
    return {name.rpartition(".")[2]: importlib.import_module(name).main for name in names}
