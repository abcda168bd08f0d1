"""Is there something to learn: how often does each class occur in the labels that are trained on?"""

from collections.abc import Iterator

import numpy as np

from datasets.base import Split
from datasets.checks.findings import Finding, some
from datasets.checks.label_ids import UNKNOWN, LabelIds, as_table
from datasets.checks.labels import WHITE, example, has_own_classes, is_black_and_white, two_meanings
from utils.constants import IGNORE_LABEL

RARE = 0.05  # of the labels


def check_classes(split: Split, ids: LabelIds, class_uniform_pct: float) -> Iterator[Finding]:
    """The classes of a training split: which are absent, alone or rare. Nothing is said where no pixel is of a class.

    Args:
        split: That is trained on.
        ids: Of its labels, or of some of them.
        class_uniform_pct: Fraction of crops centred on classes.
    """
    name, rows, count = split.split, as_table(ids), len(ids)
    if not any(row["labels"] for row in rows):
        return
    ignored = 1 - ids.class_pixels().sum() / ids.pixels.sum()
    what = f"{name}: classes in {count} labels; {ignored:.1%} of their pixels are ignored"
    yield Finding("ok", what, table=tuple(_lines(rows, count)))
    if (ids.train_ids == UNKNOWN).any():  # that is to be mended first
        return
    if split.classes.num_classes == 1:
        yield _single(split, ids)
    else:
        yield from _absent(split, ids)
    rare = [f"{row['name']} ({row['labels']})" for row in rows if 0 < row["labels"] < RARE * count]
    if rare:
        remedy = "" if class_uniform_pct else "--class_uniform_pct 0.5 centres half of the crops on classes, evenly"
        yield Finding(
            "note", f"{name}: in fewer than {RARE:.0%} of {_read(split, ids)}: {some(rare, 20)}", remedy=remedy
        )


def _single(split: Split, ids: LabelIds) -> Finding:
    """What to do where the class table has one class."""
    (only,) = split.classes.names
    what = f"{split.split}: {only} is the only class, the labels hold {ids.held()}: the loss is 0 and the mIoU 100"
    others = [i for i in ids.shares() if split.classes.id_to_train.get(i) == IGNORE_LABEL]
    if not others:
        return Finding("warning", what, remedy="name a second class in classes.json, and draw it into the labels")
    name = "background" if only != "background" else "object"
    if ids.in_colors:
        remedy = f"what isn't {only} has to be a class too: give {name} a colour in classes, instead of it in ignore"
        return Finding("warning", what, remedy=f"{remedy}, in classes.json")
    remedy = f"what isn't {only} has to be a class too: {example(name, others[0])} in classes of classes.json"
    return Finding("warning", what, remedy=f"{remedy}, instead of {others[0]} in ignore")


def _absent(split: Split, ids: LabelIds) -> Iterator[Finding]:
    """Classes without a pixel, with what the labels hold in their place."""
    table, pixels = split.classes, ids.class_pixels()
    absent = np.flatnonzero(pixels == 0).tolist()
    alone = len(absent) == table.num_classes - 1
    if not absent:
        return
    named = some((table.names[i] + ("" if ids.in_colors else f" (id {table.label_ids[i]})") for i in absent), 20)
    what = f"{split.split}: no pixel of class {named} in {_read(split, ids)}; they hold {ids.held()}"
    if len(ids) < len(split):  # it may be in those that weren't read
        yield Finding("note", what)
        return
    if alone:
        what += f"; {table.names[int(pixels.argmax())]} is all there is: the loss falls to 0, the mIoU says nothing"
    yield Finding("warning", what, remedy=_remedy(split, ids, absent))


def _remedy(split: Split, ids: LabelIds, absent: list[int]) -> str:
    table = split.classes
    if not has_own_classes(split):
        return "is the data complete? the model can't learn these classes"
    if is_black_and_white(ids) and WHITE not in table.label_ids:
        return two_meanings(table.names[absent[0]], table)
    whose = "the colour in the masks" if ids.in_colors else "the id in the labels"
    return f"in classes.json, give {'it' if len(absent) == 1 else 'them'} {whose}, or leave the class out"


def _read(split: Split, ids: LabelIds) -> str:
    return "the labels" if len(ids) == len(split) else f"the {len(ids)} labels that were read"


def _lines(rows: list[dict], labels: int) -> Iterator[str]:
    width = max(len("class"), *(len(row["name"]) for row in rows))
    yield f"{'id':>3}  {'class':<{width}}  {'pixels':>7}  labels that have it"
    for row in rows:
        yield f"{row['id']:>3}  {row['name']:<{width}}  {row['pixels']:>7.2%}  {row['labels']} of {labels}"
