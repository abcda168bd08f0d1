"""Options of train.py, each with the reason why it has its value."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

WIDTH, NAME_WIDTH, VALUE_WIDTH = 118, 18, 24  # letters, of a printed table and its columns


@dataclass(frozen=True)
class Choice:
    """An option.

    Attributes:
        name: As train.py has it, without dashes.
        value: What a JSON file may hold.
        reason: In words.
    """

    name: str
    value: object
    reason: str


def as_options(choices: Sequence[Choice]) -> dict:
    """Values by name, what `train.py --options_from` takes; later ones win."""
    return {choice.name: choice.value for choice in choices}


def as_table(choices: Sequence[Choice]) -> list[str]:
    """A line or more for each: name, value, reason."""
    lines = []
    for choice in choices:
        value = ",".join(map(str, choice.value)) if isinstance(choice.value, (list, tuple)) else f"{choice.value}"
        head = f"{choice.name:<{NAME_WIDTH}} {value:<{VALUE_WIDTH}} "
        first, *rest = textwrap.wrap(choice.reason, WIDTH - NAME_WIDTH - VALUE_WIDTH - 2)
        lines += [head + first, *(" " * (NAME_WIDTH + VALUE_WIDTH + 2) + line for line in rest)]
    return lines


def reasons_file(out: Path) -> Path:
    """Beside the options, which may hold nothing else: `yard.json` -> `yard.reasons.json`."""
    return out.with_name(f"{out.stem}.reasons.json")
