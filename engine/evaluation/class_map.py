"""eval.py's --class_map: scores on data that share only some of the model's classes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from utils.constants import IGNORE_LABEL
from utils.errors import OptionError

FLAG = "--class_map"
REFUSED = ("confidence", "instance_scores", "submission")  # what isn't defined for other classes than the model's


def read_class_map(path: str) -> dict[str, str | None]:
    """The file's object: class of the model -> class of the data, or None where it is of none.

    Raises:
        OptionError: It can't be read, or is no such object.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise OptionError(f"{FLAG} {path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise OptionError(f"{FLAG} {path}: not valid JSON ({error})") from error
    if not isinstance(found, dict) or not all(value is None or isinstance(value, str) for value in found.values()):
        raise OptionError(
            f'{FLAG} {path}: must be an object {{"class of the model": "class of the data" or null, ...}}'
        )
    return found


@dataclass(frozen=True)
class ClassMap:
    """What a model's classes are in the data.

    Attributes:
        classes: Class of the model -> class of the data, or None: by train id.
        names: The data's classes by train id.
    """

    classes: Mapping[str, str | None]
    names: Sequence[str]

    @classmethod
    def of(cls, given: Mapping[str, str | None], model: Sequence[str], data: Sequence[str]) -> "ClassMap":
        """`given`, and for classes that it leaves out the class of the same name.

        Raises:
            OptionError: A class that model or data don't have, or nothing in common.
        """
        check_names(given, "model", model)
        check_names((name for name in given.values() if name is not None), "data", data)
        classes = {name: given.get(name, name if name in data else None) for name in model}
        if not any(classes.values()):
            raise OptionError(f"{FLAG}: no class of the model is one of the data, so there is nothing to score")
        return cls(classes, data)

    @property
    def table(self) -> Tensor:
        """Train id of the data by that of the model, the ignored label where it has none: uint8 (C,)."""
        ids = [IGNORE_LABEL if name is None else self.names.index(name) for name in self.classes.values()]
        return torch.tensor(ids, dtype=torch.uint8)

    @property
    def unscored(self) -> list[str]:
        """Classes of the data that no class of the model is; their pixels are ignored."""
        return [name for name in self.names if name not in self.classes.values()]

    def lines(self) -> list[str]:
        """For the log."""
        renamed = [f"{name} -> {to}" for name, to in self.classes.items() if to not in (None, name)]
        missed = [name for name, to in self.classes.items() if to is None]
        said = {
            "class map": renamed,
            "of no class of the data, a pixel predicted as one of these is missed": missed,
            "classes of the data that the model has not, their pixels are ignored": self.unscored,
        }
        return [f"{what}: {', '.join(names)}" for what, names in said.items() if names]


def check_names(given, whose: str, known: Sequence[str]) -> None:
    """Raises `OptionError` for the first of the names `given` that isn't `known`."""
    for name in given:
        if name not in known:
            raise OptionError(f"{FLAG}: the {whose} has no class {name!r}; it has {', '.join(known)}")
