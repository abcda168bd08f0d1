"""What the checks of a data set find, for whoever prints it."""

from collections.abc import Iterable
from dataclasses import dataclass

SEVERITIES = ("ok", "note", "warning", "error")


@dataclass(frozen=True)
class Finding:
    """One line of a checklist.

    Attributes:
        severity: One of `SEVERITIES`; only an error says that training can't work.
        what: One sentence.
        where: Files, each with what is wrong with it.
        remedy: A flag or a command; empty where nothing is to be done.
        exit_code: Of an error, as in `utils.errors`; 3 is unusable data.
        table: Lines shown below, for people.
    """

    severity: str
    what: str
    where: tuple[str, ...] = ()
    remedy: str = ""
    exit_code: int = 3
    table: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        assert self.severity in SEVERITIES

    def line(self, most: int = 2) -> str:
        """All but the table in one line, with at most so many of the files."""
        files = f": {some(self.where, most)}" if self.where else ""
        return f"{self.what}{files}{f'; {self.remedy}' if self.remedy else ''}"


def some(things: Iterable[object], most: int = 6) -> str:
    """The first few of some things, separated by commas."""
    listed = [str(thing) for thing in things]
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def many(count: int, noun: str) -> str:
    """A number and a noun."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
