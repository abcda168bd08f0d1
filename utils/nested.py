"""Tensors and plain values in nested dicts and lists."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

# what a file may hold; a snapshot of the largest model has some thousands of values in short places
MAX_ITEMS = 1_000_000


MAX_PLACE = 1_000  # letters of the names that lead to a value


def named_leaves(content: Any) -> Iterator[tuple[str, Any]]:
    """Every tensor and plain value in nested dicts and lists, with its place.

    Raises:
        ValueError: There are more than `MAX_ITEMS`, or they are nested too deeply: containers that hold each other many
            times multiply.
    """
    waiting, seen = [("", content)], 0
    while waiting:
        path, value = waiting.pop()
        seen += 1
        if seen > MAX_ITEMS:
            raise ValueError(f"holds more than {MAX_ITEMS} values")
        if len(path) > MAX_PLACE:
            raise ValueError(f"holds values with names of more than {MAX_PLACE} letters")
        if isinstance(value, Mapping):
            waiting += [(f"{path}/{key}", item) for key, item in value.items()]
        elif isinstance(value, (list, tuple)):
            waiting += [(f"{path}/{index}", item) for index, item in enumerate(value)]
        else:
            yield path, value


def named_tensors(content: Any) -> Iterator[tuple[str, Tensor]]:
    """The tensors among `named_leaves`."""
    return ((path, value) for path, value in named_leaves(content) if isinstance(value, Tensor))
