"""Which ids do the labels hold, and are they the data set's?"""

from collections.abc import Iterator

import numpy as np

from datasets.base import ClassTable
from datasets.checks.inspection import SampleFacts
from scripts.doctor_checks.findings import Finding, Visit, many, some
from utils.constants import IGNORE_LABEL

RARE = 0.05  # of the labels


def check_labels(visit: Visit) -> Iterator[Finding]:
    """Unknown ids, train ids in place of label ids, empty labels, and the classes of the training split."""
    for name, samples in visit.facts.items():
        labelled = [facts for facts in samples if facts.ids is not None]
        if not labelled:
            continue
        table = visit.splits[name].classes
        yield from _check_ids(visit, name, labelled, table)
        if name == visit.config.data.train_split:
            yield from _check_classes(visit, name, labelled, table)


def _check_ids(visit: Visit, name: str, samples: list[SampleFacts], table: ClassTable) -> Iterator[Finding]:
    unknown = [fault for facts in samples for fault in facts.faults if fault.kind == "ids"]
    if unknown:
        what = f"{name}: {many(len(unknown), 'label')} with ids that are no class of {visit.config.data.dataset}"
        known = f"its ids are {some(sorted(table.id_to_train), 40)}"
        remedy = f"mend the labels, or give the ids a meaning in the class table ({known})"
        yield Finding("error", what, tuple(fault.text for fault in unknown), remedy)
    mistaken = [facts for facts in samples if looks_like_train_ids(facts.ids, table)]
    if mistaken:
        what = f"{name}: {many(len(mistaken), 'label')} with train ids (0 to {table.num_classes - 1} and 255)"
        remedy = "use the label ids as published (Cityscapes: *_labelIds.png, not *_labelTrainIds.png)"
        yield Finding("error", what, tuple(str(facts.label) for facts in mistaken), remedy)
    elif _renumbered(table) and not np.any([facts.ids[table.num_classes : 255] for facts in samples]):
        top = max(table.label_ids)
        what = f"{name}: no label holds an id above {table.num_classes - 1}, though label ids go up to {top}"
        remedy = "look at a few labels: are these train ids, or labels of another data set?"
        yield Finding("warning", what, remedy=remedy)
    void = [facts for facts in samples if not facts.faults and not class_pixels(facts.ids, table).any()]
    if len(void) == len(samples):
        remedy = "take the real labels (those of a test split are often published empty)"
        yield Finding("error", f"{name}: no label has a pixel of any class", (str(void[0].label),), remedy)
    elif void:
        files = tuple(str(facts.label) for facts in void)
        yield Finding(
            "warning", f"{name}: {many(len(void), 'label')} without a pixel of any class", files, "remove these samples"
        )
    if not (unknown or mistaken or void):
        yield Finding("ok", f"{name}: labels hold only ids of {visit.config.data.dataset}")


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


def _check_classes(visit: Visit, name: str, samples: list[SampleFacts], table: ClassTable) -> Iterator[Finding]:
    pixels = np.stack([class_pixels(facts.ids, table) for facts in samples])
    shares, images = pixels.sum(0) / max(1, pixels.sum()), (pixels > 0).sum(0)
    rows = [
        {"id": table.label_ids[c], "name": table.names[c], "pixels": float(shares[c]), "labels": int(images[c])}
        for c in range(table.num_classes)
    ]
    visit.details["classes"] = rows
    ids = sum(facts.ids for facts in samples)
    visit.details["label_ids"] = {str(i): int(ids[i]) for i in np.flatnonzero(ids).tolist()}
    ignored = 1 - pixels.sum() / max(1, ids.sum())
    yield Finding(
        "ok",
        f"{name}: classes in {len(samples)} labels; {ignored:.1%} of their pixels are ignored",
        table=tuple(_lines(rows, len(samples))),
    )
    read = "the labels" if len(samples) == len(visit.splits[name]) else f"the {len(samples)} labels that were read"
    absent = [row["name"] for row in rows if row["labels"] == 0]
    if absent:
        what = f"{name}: absent from {read}: {some(absent, 20)}"
        yield Finding("note", f"{what}; class-uniform sampling leaves absent classes out, their IoU is null")
    rare = [f"{row['name']} ({row['labels']})" for row in rows if 0 < row["labels"] < RARE * len(samples)]
    if rare:
        remedy = "--class_uniform_pct 0.5 centres half of the crops on classes, evenly"
        used = visit.config.data.class_uniform_pct > 0
        what = f"{name}: in fewer than {RARE:.0%} of {read}: {some(rare, 20)}"
        yield Finding("note", what, remedy="" if used else remedy)


def _lines(rows: list[dict], labels: int) -> Iterator[str]:
    width = max(len("class"), *(len(row["name"]) for row in rows))
    yield f"{'id':>3}  {'class':<{width}}  {'pixels':>7}  labels that have it"
    for row in rows:
        yield f"{row['id']:>3}  {row['name']:<{width}}  {row['pixels']:>7.2%}  {row['labels']} of {labels}"
