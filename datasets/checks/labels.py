"""Do the ids in the labels mean what the class table says?"""

import json
from collections.abc import Iterator

import numpy as np

from datasets.base import ClassTable, Split
from datasets.checks.findings import Finding, many, some
from datasets.checks.label_ids import UNKNOWN, LabelIds
from utils.constants import IGNORE_LABEL

WHITE = 255  # what drawing tools write for "yes"


def check_ids(split: Split, ids: LabelIds) -> Iterator[Finding]:
    """Unknown ids, train ids in place of label ids, and labels without a class."""
    if not len(ids):
        return
    found = [*_unknown(split, ids), *_train_ids(split, ids), *_void(split, ids)]
    yield from found or [Finding("ok", f"{split.split}: labels hold only ids of {split.dataset}")]


def _unknown(split: Split, ids: LabelIds) -> Iterator[Finding]:
    labels = np.flatnonzero(ids.labels_with(ids.train_ids == UNKNOWN)).tolist()
    if labels:
        what = f"{split.split}: {many(len(labels), 'label')} with ids that are no class of {split.dataset}"
        where = (
            f"{label_name(split, label)}: " + ", ".join(f"id {i} ({pixels} pixels)" for i, pixels in ids.unknown(label))
            for label in labels
        )
        yield Finding("error", what, tuple(where), _what_they_may_mean(split, ids))


def _what_they_may_mean(split: Split, ids: LabelIds) -> str:
    table, unknown = ids.table, np.unique(ids.ids[ids.train_ids == UNKNOWN]).tolist()
    if not has_own_classes(split):
        return f"mend the labels: the ids of {split.dataset} are {some(sorted(table.id_to_train), 40)}"
    if unknown == [WHITE] and is_black_and_white(ids):
        absent = np.flatnonzero(ids.class_pixels() == 0).tolist()
        return two_meanings(table.names[absent[0]] if absent else None, table)
    meaning = f"give {some(unknown)} a meaning in classes.json: {example('...', unknown[0])} in classes"
    if table.num_classes > 1:  # a single class with all else ignored teaches nothing
        meaning += f", or {unknown[0]} in ignore"
    return f"{meaning}; or mend the labels"


def has_own_classes(split: Split) -> bool:
    """True where the classes are those of the user's `classes.json`."""
    return split.dataset == "folder"


def is_black_and_white(ids: LabelIds) -> bool:
    """True for labels that hold the ids 0 and 255 and nothing else."""
    return not ids.in_colors and set(ids.shares()) == {0, WHITE}


def two_meanings(name: str | None, table: ClassTable) -> str:
    """What to do about labels of 0 and 255, where 255 should have been the class `name` (None: a class to come)."""
    label_id = table.label_ids[table.names.index(name)] if name else 1
    row = example(name or "object", WHITE)
    return (
        f"if 255 is {name or 'a class'}, write {row} in classes.json, or save the labels with {label_id} in its place"
    )


def example(name: str, label_id: int) -> str:
    """A row of `classes.json`."""
    return json.dumps({"name": name, "id": label_id}, ensure_ascii=False)


def label_name(split: Split, index: int) -> str:
    """The label's file, or the sample in words where there is none."""
    files = split.files(index)
    return str(files[1]) if len(files) > 1 else split.describe(index)


def _train_ids(split: Split, ids: LabelIds) -> Iterator[Finding]:
    table, count = ids.table, ids.table.num_classes
    if has_own_classes(split) or not _renumbered(table):  # users may use any ids
        return
    high = ids.labels_with((ids.ids >= count) & (ids.ids < IGNORE_LABEL))
    mistaken = np.flatnonzero(ids.labels_with(ids.ids == IGNORE_LABEL) & ~high).tolist()
    if mistaken:
        what = f"{split.split}: {many(len(mistaken), 'label')} with train ids (0 to {count - 1} and 255)"
        remedy = "use the label ids as published (Cityscapes: *_labelIds.png, not *_labelTrainIds.png)"
        yield Finding("error", what, tuple(label_name(split, label) for label in mistaken), remedy)
    elif not high.any():
        top = max(table.label_ids)
        what = f"{split.split}: no label holds an id above {count - 1}, though label ids go up to {top}"
        remedy = "look at a few labels: are these train ids, or labels of another data set?"
        yield Finding("warning", what, remedy=remedy)


def _renumbered(table: ClassTable) -> bool:
    """True where label ids and train ids can be told apart: half of the label ids or more are no train ids."""
    return 2 * sum(label_id >= table.num_classes for label_id in table.label_ids) >= table.num_classes


def _void(split: Split, ids: LabelIds) -> Iterator[Finding]:
    useful = ids.labels_with(ids.of_classes | (ids.train_ids == UNKNOWN))
    void = np.flatnonzero(ids.labelled & ~useful).tolist()
    files = tuple(label_name(split, label) for label in void)
    if len(void) == len(ids):
        what = f"{split.split}: no label has a pixel of any class; they hold {ids.held()}"
        yield Finding("error", what, files[:1], _labels_for_void(split, ids))
    elif void:
        what = f"{split.split}: {many(len(void), 'label')} without a pixel of any class"
        yield Finding("warning", what, files, "remove these samples")


def _labels_for_void(split: Split, ids: LabelIds) -> str:
    if not has_own_classes(split):
        return "take the real labels (those of a test split are often published empty)"
    if is_black_and_white(ids):
        return two_meanings(ids.table.names[0], ids.table)
    if ids.in_colors:
        return "draw classes into the masks, in their colours, or give an ignored colour to a class in classes.json"
    held = example("...", next(iter(ids.shares())))
    return f"draw classes into the labels, or name an id that they hold in classes.json: {held}"
