"""Options of what a registry names: the keywords of its constructor, given on the command line as `key=value,...`."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args, get_origin

from utils.errors import OptionError
from utils.options import finite, numbers

KEYWORD = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
TRUTH = {"true": True, "false": False}


def keywords(target: Callable) -> dict[str, inspect.Parameter]:
    """Arguments that a function, a partial function or a class takes by keyword, in order.

    Where a constructor has `**options`, those of its base class are among them.
    """
    found: dict[str, inspect.Parameter] = {}
    for function in [base.__init__ for base in inspect.getmro(target)] if inspect.isclass(target) else [target]:
        parameters = inspect.signature(function, eval_str=True).parameters
        named = {name: item for name, item in parameters.items() if item.kind in KEYWORD and name != "self"}
        found = {**named, **found}
        if all(item.kind is not inspect.Parameter.VAR_KEYWORD for item in parameters.values()):
            break
    return found


def parse_keywords(flag: str, text: str, owner: str, options: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    """'thresh=0.6,classes=1,2' -> {"thresh": 0.6, "classes": (1, 2)}, typed as the owner's signature says.

    Raises:
        OptionError: A key that `owner` doesn't take, or a value of another type.
    """
    known = f"options of {owner}: {describe(options)}"
    result = {}
    for item in re.split(r",(?=\s*\w+\s*=)", text) if text.strip() else ():
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals and key in options:
            raise OptionError(f"{flag} {item}: has no value; give {key}=VALUE; {known}")
        if not equals or key not in options:
            raise OptionError(f"{flag} {item}: {owner} has no such option; give key=value,...; {known}")
        try:
            result[key] = _typed(options[key])(value)
        except (ValueError, KeyError):
            raise OptionError(f"{flag} {item}: {value!r} doesn't fit {key}; {known}") from None
    return result


def describe(options: Mapping[str, inspect.Parameter]) -> str:
    """The options with their defaults, as an error or a help text shows them."""
    shown = (f"{name}={_text(item.default)}" for name, item in options.items())
    return ", ".join(shown) or "none"


def _text(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _typed(item: inspect.Parameter) -> Callable[[str], Any]:
    """Text -> value of the argument's annotated type; without one, of its default's."""
    kind = type(item.default) if item.annotation is inspect.Parameter.empty else item.annotation
    if get_origin(kind) in (tuple, list, Sequence):
        return numbers(get_args(kind)[0])
    kind = next((part for part in get_args(kind) if part is not type(None)), kind)
    return {bool: lambda text: TRUTH[text.lower()], float: finite}.get(kind, kind)
