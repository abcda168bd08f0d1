"""The classes of `classes.json`: names, and what the numbers or the colours of masks mean."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets.base import ClassTable
from datasets.class_file import check_keys, checked_color, checked_id, checked_name, checked_several, read_rows
from datasets.own.colors import Color, ColorCode, free_colors
from utils.constants import IGNORE_LABEL
from utils.errors import DataError

MASKS = ("ids", "color")
Row = dict[str, Any]


class _Rows:
    """Names, ids and colours of the classes, in the file's order.

    Args:
        path: The file.
        rows: The objects that describe classes.
        colored: Masks show colours: then each class has some, and an id only where it isn't its position.
    """

    def __init__(self, path: Path, rows: Sequence[Row], colored: bool) -> None:
        self.path, self.colored = path, colored
        self.names: list[str] = []
        self.ids: list[tuple[int, ...]] = []
        self.colors: list[tuple[Color, ...]] = []
        self.id_owners: list[int] = []
        self.color_owners: dict[Color, str] = {}
        for i, row in enumerate(rows):
            self._add(f"classes[{i}]", row, i)

    def _add(self, key: str, row: Row, position: int) -> None:
        check_keys(self.path, row, ("name", "id", "color"), f"{key}.")
        self.names.append(checked_name(self.path, f"{key}.name", row.get("name"), self.names))
        if self.colored:
            self.ids.append((self.add_id(f"{key}.id", row.get("id", position)),))
        else:
            self.ids.append(checked_several(f"{key}.id", row.get("id"), self.add_id))
        value = row.get("color")
        if self.colored and isinstance(value, list) and all(isinstance(one, list) for one in value):
            self.colors.append(checked_several(f"{key}.color", value, self.add_color))
        else:
            self.colors.append((self.add_color(f"{key}.color", value),) if "color" in row or self.colored else ())

    def add_id(self, key: str, value: Any) -> int:
        """`value` if it is an id that nothing has yet."""
        if self.colored and value == IGNORE_LABEL:
            raise DataError(f"{self.path}: key {key!r} is {value}, which ignored colours become; choose another")
        self.id_owners.append(checked_id(self.path, key, value, self.id_owners))
        return value

    def add_color(self, key: str, value: Any) -> Color:
        """`value` as a colour that nothing has yet."""
        color = checked_color(self.path, key, value)
        if color in self.color_owners:
            owner = self.color_owners[color]
            raise DataError(f"{self.path}: key {key!r} is {value}, the colour of {owner!r}; choose another")
        self.color_owners[color] = self.names[-1]
        return color


def read_classes(path: Path) -> tuple[dict[str, Any], ClassTable, ColorCode | None]:
    """The object in `classes.json`, its class table, and what colours mean where masks show colours.

    The train id is the position in the list. Of several ids or colours of a class the first is written and drawn;
    colours that aren't given are chosen.

    Raises:
        DataError: The file is missing or malformed; the message names it and the key.
    """
    data, given = read_rows(path, "classes", IGNORE_LABEL)
    colored = _are_colored(path, data, given)
    rows = _Rows(path, given, colored)
    ignored = data.get("ignore", [] if colored or IGNORE_LABEL in rows.id_owners else [IGNORE_LABEL])
    if not isinstance(ignored, list):
        raise DataError(f"{path}: key 'ignore' must be a list of {'colours' if colored else 'label ids'}")
    names = dict(rows.color_owners)
    chosen = free_colors(names, len(given))
    left_out = [(rows.add_color if colored else rows.add_id)(f"ignore[{i}]", one) for i, one in enumerate(ignored)]
    table = {label_id: IGNORE_LABEL for label_id in ([IGNORE_LABEL] if colored else left_out)}
    table |= {label_id: train_id for train_id, merged in enumerate(rows.ids) for label_id in merged}
    palette = tuple(own[0] if own else other for own, other in zip(rows.colors, chosen, strict=True))
    classes = ClassTable(tuple(rows.names), palette, tuple(merged[0] for merged in rows.ids), table)
    if not colored:
        return data, classes, None
    ids = dict.fromkeys(left_out, IGNORE_LABEL)
    ids |= {color: classes.label_ids[i] for i, own in enumerate(rows.colors) for color in own}
    return data, classes, ColorCode(ids, names, path)


def _are_colored(path: Path, data: dict[str, Any], rows: Sequence[Row]) -> bool:
    """What the key `masks` says; without it, True where each class has a colour and none an id."""
    by_color_alone = all("color" in row and "id" not in row for row in rows)
    masks = data.get("masks", MASKS[by_color_alone])
    if masks not in MASKS:
        raise DataError(f'{path}: key \'masks\' must be "ids" or "color", given {masks!r}')
    return masks == "color"
