"""Typed options: dataclass fields -> argparse arguments -> dataclass instances."""

import argparse
import dataclasses
import math
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from utils.errors import OptionError

T = TypeVar("T")
MAX_SIDE = 32766  # of an image, in pixels, that OpenCV can resample
FORMS = {int: "a whole number", float: "a number"}  # of a value, in words; those of other parsers are their names


def option(default: Any, help: str, *, flags: tuple[str, ...] = (), choices: tuple | None = None, parse=None) -> Any:
    """A dataclass field that becomes the option `--<field name>`.

    Args:
        default: Used when the option isn't given.
        help: One line for `--help`.
        flags: Further spellings.
        choices: Allowed values.
        parse: Text -> value; by default the field's type.
    """
    metadata = {"help": help, "flags": flags, "choices": choices, "parse": parse}
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def finite(text: str) -> float:
    """Text -> float; raises ValueError for nan and inf."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


finite.__name__ = "a number"


def numbers(kind: type) -> Any:
    """Parser of comma-separated numbers: '0.5,1.0' -> (0.5, 1.0)."""
    convert = finite if kind is float else kind

    def parse(text: str) -> tuple:
        return tuple(convert(part) for part in text.split(",") if part.strip())

    parse.__name__ = f"{'whole numbers' if kind is int else 'numbers'} with commas between them"
    return parse


def check(fits: object, flag: str, value: object, rule: str) -> None:
    """Raises `OptionError`, which names the flag, its value and the rule, unless `fits` is true."""
    if not fits:
        raise OptionError(f"{flag} {value}: {rule}")


def check_choices(options: Any) -> None:
    """Raises `OptionError` for a field of an options dataclass that isn't one of its choices, or unset."""
    for item in dataclasses.fields(options):
        choices, value = item.metadata.get("choices"), getattr(options, item.name)
        if choices and value is not None:
            check(value in choices, f"--{item.name}", value, f"choose one of {', '.join(map(str, choices))}")


def check_side(flag: str, value: int | None) -> None:
    """Raises `OptionError` for a side of an image, in pixels, that cannot be resampled to."""
    check(value is None or 1 <= value <= MAX_SIDE, flag, value, f"must be from 1 to {MAX_SIDE} pixels")


def check_below(flag: str, name: str, folder: str) -> None:
    """Raises `OptionError` for a name that leads out of its folder."""
    check(
        not Path(name).is_absolute() and ".." not in Path(name).parts, flag, name, f"a name below {folder}, without .."
    )


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are `OptionError`s and that accepts no abbreviations."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.ArgumentDefaultsHelpFormatter, **kwargs)

    def error(self, message: str) -> None:
        raise OptionError(f"{message}; see {self.prog} --help")

    # argparse's own, so that its messages for a bad value become ours
    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        try:
            return super()._get_value(action, arg_string)
        except argparse.ArgumentError:
            form = FORMS.get(action.type) or getattr(action.type, "__name__", repr(action.type))
            raise OptionError(f"{_name_of(action)} {arg_string}: must be {form}") from None

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        fits = action.choices is None or value in action.choices
        check(fits, _name_of(action), value, f"choose one of {', '.join(map(str, action.choices or ()))}")


def _name_of(action: argparse.Action) -> str:
    return action.option_strings[0] if action.option_strings else str(action.metavar or action.dest)


@dataclass(frozen=True)
class OldFlag:
    """A flag of the releases that is accepted and means nothing any more; `nargs` as in argparse."""

    name: str
    reason: str
    nargs: int | str | None = None


class _OldFlagAction(argparse.Action):
    def __call__(self, parser, namespace, values, option_string=None) -> None:
        notes = getattr(namespace, "notes", [])
        reason = self.help
        namespace.notes = notes + [f"{option_string} is accepted and has no effect: {reason}"]


def add_options(parser: argparse.ArgumentParser, cls: type) -> None:
    """Add one argument group for the fields of dataclass `cls`, titled by the first line of its docstring."""
    hints = get_type_hints(cls)
    group = parser.add_argument_group(cls.__doc__.splitlines()[0])
    for item in dataclasses.fields(cls):
        if not item.metadata:
            continue
        default = item.default if item.default is not MISSING else item.default_factory()
        kinds = [kind for kind in get_args(hints[item.name]) if kind is not type(None)] or [hints[item.name]]
        common = {"dest": item.name, "default": default, "help": item.metadata["help"]}
        names = [f"--{item.name}", *item.metadata["flags"]]
        if kinds[0] is bool:
            group.add_argument(*names, action="store_true", **common)
            off = [f"--no-{item.name}", f"--no_{item.name}"]
            group.add_argument(
                *off, action="store_false", dest=item.name, default=argparse.SUPPRESS, help="the opposite"
            )
        else:
            parse = item.metadata["parse"] or (finite if kinds[0] is float else kinds[0])
            group.add_argument(*names, type=parse, choices=item.metadata["choices"], **common)


def add_old_flags(parser: argparse.ArgumentParser, flags: list[OldFlag]) -> None:
    """Accept each flag; using one leaves a line in the namespace's `notes`."""
    group = parser.add_argument_group("flags of the releases that mean nothing any more")
    for flag in flags:
        dest = "old_" + flag.name.lstrip("-").replace("-", "_")
        nargs = 0 if flag.nargs is None else flag.nargs
        group.add_argument(
            flag.name, action=_OldFlagAction, nargs=nargs, dest=dest, default=argparse.SUPPRESS, help=flag.reason
        )


def collect(cls: type[T], namespace: argparse.Namespace) -> T:
    """Build dataclass `cls` from the parsed options; its `__post_init__` validates."""
    return cls(**{item.name: getattr(namespace, item.name) for item in dataclasses.fields(cls) if item.metadata})
