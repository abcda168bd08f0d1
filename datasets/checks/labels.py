"""Which ids do the labels hold, and are they the data set's?"""

from collections.abc import Iterator, Sequence

import numpy as np

from datasets.base import ClassTable, Split
from datasets.checks.findings import Finding, many, some
from datasets.checks.inspection import SampleFacts
from utils.constants import IGNORE_LABEL

RARE = 0.05  # of the labels


def check_ids(split: Split, samples: Sequence[SampleFacts]) -> Iterator[Finding]:
    """Unknown ids, train ids in place of label ids, and labels without a class."""
    samples, table, name = _labelled(samples), split.classes, split.split
    if not samples:
        return
    unknown = [fault for facts in samples for fault in facts.faults if fault.kind == "ids"]
    if unknown:
        what = f"{name}: {many(len(unknown), 'label')} with ids that are no class of {split.dataset}"
        known = f"its ids are {some(sorted(table.id_to_train), 40)}"
        remedy = f"mend the labels, or give the ids a meaning in the class table ({known})"
        yield Finding("error", what, tuple(fault.text for fault in unknown), remedy)
    mistaken = [facts for facts in samples if looks_like_train_ids(facts.ids, table)]
    if mistaken:
        what = f"{name}: {many(len(mistaken), 'label')} with train ids (0 to {table.num_classes - 1} and 255)"
        remedy = "use the label ids as published (Cityscapes: *_labelIds.png, not *_labelTrainIds.png)"
        yield Finding("error", what, tuple(str(facts.label) for facts in mistaken), remedy)
    elif _renumbered(table) and not np.any([facts.ids[table.num_classes : IGNORE_LABEL] for facts in samples]):
        top = max(table.label_ids)
        what = f"{name}: no label holds an id above {table.num_classes - 1}, though label ids go up to {top}"
        remedy = "look at a few labels: are these train ids, or labels of another data set?"
        yield Finding("warning", what, remedy=remedy)
    void = [facts for facts in samples if not facts.faults and not class_pixels(facts.ids, table).any()]
    files = tuple(str(facts.label) for facts in void)
    if len(void) == len(samples):
        remedy = "take the real labels (those of a test split are often published empty)"
        yield Finding("error", f"{name}: no label has a pixel of any class", files[:1], remedy)
    elif void:
        what = f"{name}: {many(len(void), 'label')} without a pixel of any class"
        yield Finding("warning", what, files, "remove these samples")
    if not (unknown or mistaken or void):
        yield Finding("ok", f"{name}: labels hold only ids of {split.dataset}")


def _labelled(samples: Sequence[SampleFacts]) -> list[SampleFacts]:
    return [facts for facts in samples if facts.ids is not None]


def _renumbered(table: ClassTable) -> bool:
    """True where label ids and train ids can be told apart: half of the label ids or more are no train ids."""
    return 2 * sum(label_id >= table.num_classes for label_id in table.label_ids) >= table.num_classes


def looks_like_train_ids(ids: np.ndarray, table: ClassTable) -> bool:
    """True for a label whose ids (counts (256,)) all are train ids, 255 among them, where label ids go higher."""
    return _renumbered(table) and ids[IGNORE_LABEL] > 0 and not ids[table.num_classes : IGNORE_LABEL].any()


def class_pixels(ids: np.ndarray, table: ClassTable) -> np.ndarray:
    """Pixels of each class, int64 (num_classes,), from those of each label id (256,)."""
    pixels = np.zeros(table.num_classes, np.int64)
    for label_id, train_id in table.id_to_train.items():
        if train_id != IGNORE_LABEL:
            pixels[train_id] += ids[label_id]
    return pixels


def id_pixels(samples: Sequence[SampleFacts]) -> dict[str, int]:
    """Pixels of each label id that occurs."""
    ids = sum(facts.ids for facts in _labelled(samples))
    return {str(i): int(ids[i]) for i in np.flatnonzero(ids).tolist()}


def class_rows(table: ClassTable, samples: Sequence[SampleFacts]) -> list[dict]:
    """`id`, `name`, `pixels` (their fraction of those of all classes), `labels` (how many have it), by train id."""
    pixels = np.stack([class_pixels(facts.ids, table) for facts in _labelled(samples)])
    shares, labels = pixels.sum(0) / max(1, pixels.sum()), (pixels > 0).sum(0)
    rows = zip(table.label_ids, table.names, shares.tolist(), labels.tolist(), strict=True)
    return [dict(zip(("id", "name", "pixels", "labels"), row, strict=True)) for row in rows]


def check_classes(split: Split, samples: Sequence[SampleFacts], class_uniform_pct: float) -> Iterator[Finding]:
    """The classes of a training split: how often each occurs, which are absent or rare."""
    labelled, name = _labelled(samples), split.split
    if not labelled:
        return
    rows, every = class_rows(split.classes, labelled), sum(facts.ids for facts in labelled)
    ignored = 1 - class_pixels(every, split.classes).sum() / max(1, every.sum())
    what = f"{name}: classes in {len(labelled)} labels; {ignored:.1%} of their pixels are ignored"
    yield Finding("ok", what, table=tuple(_lines(rows, len(labelled))))
    read = "the labels" if len(labelled) == len(split) else f"the {len(labelled)} labels that were read"
    absent = [row["name"] for row in rows if row["labels"] == 0]
    if absent:
        what = f"{name}: absent from {read}: {some(absent, 20)}"
        yield Finding("note", f"{what}; class-uniform sampling leaves absent classes out, their IoU is null")
    rare = [f"{row['name']} ({row['labels']})" for row in rows if 0 < row["labels"] < RARE * len(labelled)]
    if rare:
        remedy = "" if class_uniform_pct else "--class_uniform_pct 0.5 centres half of the crops on classes, evenly"
        yield Finding("note", f"{name}: in fewer than {RARE:.0%} of {read}: {some(rare, 20)}", remedy=remedy)


def _lines(rows: list[dict], labels: int) -> Iterator[str]:
    width = max(len("class"), *(len(row["name"]) for row in rows))
    yield f"{'id':>3}  {'class':<{width}}  {'pixels':>7}  labels that have it"
    for row in rows:
        yield f"{row['id']:>3}  {row['name']:<{width}}  {row['pixels']:>7.2%}  {row['labels']} of {labels}"
