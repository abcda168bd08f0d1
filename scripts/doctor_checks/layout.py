"""Are the splits where they should be, paired, and as large as their authors say?"""

from collections.abc import Iterator

import datasets
from datasets.pairing import unpaired_left_out
from scripts.doctor_checks.findings import Finding, Visit
from utils.errors import DataError

# samples of the official splits, as the data sets' authors give them
OFFICIAL_COUNTS = {
    "camvid": {"train": 367, "val": 101, "test": 233},
    "cityscapes": {"train": 2975, "val": 500, "test": 1525, "train_extra": 19998},
    "kitti": {"test": 200},
    "mapillary": {"train": 18000, "val": 2000, "test": 5000},
    "bdd100k": {"train": 7000, "val": 1000, "test": 2000},
}


def check_layout(visit: Visit) -> Iterator[Finding]:
    """Builds the splits of the visit."""
    data = visit.config.data
    needed = list(dict.fromkeys((data.train_split, data.val_split)))
    others = [name for name in ("test",) if name in datasets.list_splits(data.dataset) and name not in needed]
    said = set()
    for name in needed + others:
        try:
            with unpaired_left_out() as unpaired:
                visit.splits[name] = datasets.build_split(data.dataset, visit.root, name, data.cv)
        except DataError as error:
            if name in others:
                yield Finding("note", f"{name}: not there; it is needed for predictions only", (str(error),))
            elif str(error) not in said:
                said.add(str(error))
                yield Finding("error", f"{name}: can't be used", (str(error),), "lay it out as DATASETs.md says")
            continue
        for fault in unpaired:
            yield Finding(
                "error",
                f"{name}: images and labels don't pair up",
                (str(fault),),
                "add what is missing, or remove its partner",
            )
        yield _count(visit, name)


def _count(visit: Visit, name: str) -> Finding:
    split, data = visit.splits[name], visit.config.data
    what = f"{name}: {len(split)} images{' and their labels' if split.has_labels else ', no labels'}"
    official = OFFICIAL_COUNTS.get(data.dataset, {}).get(name) if data.cv == 0 else None
    visit.details.setdefault("counts", {})[name] = len(split)
    if not split.has_labels and name in (data.train_split, data.val_split):
        return Finding("error", what, remedy="name a labelled split with --train_split and --val_split", exit_code=2)
    if official is None or official == len(split):
        return Finding("ok", what + (", as published" if official else ""))
    remedy = "unpack the archive again; or go on, with other data than the papers'"
    return Finding("warning", f"{what}; published are {official}", remedy=remedy)
