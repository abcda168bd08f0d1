"""The data set: builds its splits, reads some of their samples, and hands them to the checks of `datasets.checks`."""

from collections.abc import Iterator

import datasets
from datasets.checks.findings import Finding
from datasets.checks.inspection import choose_samples, inspect_samples
from datasets.checks.labels import check_classes, check_ids, class_rows, id_pixels
from datasets.checks.sizes import check_crop, check_readable, check_sizes, check_tile, image_sizes
from datasets.checks.splits import check_count, check_overlap, check_pairs
from scripts.doctor_checks.visit import Visit, crop_of
from utils.errors import DataError, OptionError


def check_layout(visit: Visit) -> Iterator[Finding]:
    """Builds the splits that the run needs, and `test` where the data set has one."""
    data, said = visit.config.data, set()
    needed = (data.train_split, data.val_split)
    for name in dict.fromkeys((*needed, "test")):
        unpaired = []
        try:
            split = datasets.build_split(data.dataset, visit.root, name, data.cv, unpaired.append)
        except OptionError:
            if name in needed:
                raise
            continue
        except DataError as error:
            if name not in needed:
                yield Finding("note", f"{name}: not there; it is needed for predictions only", (str(error),))
            elif str(error) not in said:
                said.add(str(error))
                yield Finding("error", f"{name}: can't be used", (str(error),), "lay it out as DATASETs.md says")
            continue
        visit.splits[name] = split
        visit.details.setdefault("counts", {})[name] = len(split)
        yield from check_pairs(split, unpaired)
        published = datasets.published_counts(data.dataset).get(name) if data.cv == 0 else None
        yield check_count(split, published, name in needed)


def check_files(visit: Visit, count: int, seconds: float) -> Iterator[Finding]:
    """Reads `count` samples of each split, for about `seconds` at most; with `full` all of them, however long."""
    chosen = {
        name: choose_samples(split, len(split) if visit.full else count, visit.seed)
        for name, split in visit.splits.items()
    }
    # the splits take turns, so that each has its share if time runs out
    turns = sorted((turn, name) for name, indices in chosen.items() for turn in range(len(indices)))
    jobs = [(name, chosen[name][turn]) for turn, name in turns]
    found = inspect_samples(
        [(visit.splits[name], index) for name, index in jobs], None if visit.full else seconds, visit.full
    )
    visit.facts = {name: [] for name in visit.splits}
    for (name, _), facts in zip(jobs, found, strict=True):
        if facts is not None:
            visit.facts[name].append(facts)
    if None in found:
        what = f"{found.count(None)} of {len(jobs)} chosen samples were not read, to be done within a minute"
        yield Finding("note", what, remedy="--full reads everything")
    for name, samples in visit.facts.items():
        validated = visit.config.validation.bs_mult_val if name == visit.config.data.val_split else 1
        visit.details.setdefault("sizes", {})[name] = dict(image_sizes(samples))
        yield from check_readable(visit.splits[name], samples)
        yield from check_sizes(visit.splits[name], samples, validated)


def check_labels(visit: Visit) -> Iterator[Finding]:
    """The ids of all splits, and the classes of the training split."""
    data = visit.config.data
    for name, samples in visit.facts.items():
        split = visit.splits[name]
        yield from check_ids(split, samples)
        if name == data.train_split and any(facts.ids is not None for facts in samples):
            visit.details["classes"] = class_rows(split.classes, samples)
            visit.details["label_ids"] = id_pixels(samples)
            yield from check_classes(split, samples, data.class_uniform_pct)


def check_duplicates(visit: Visit) -> Iterator[Finding]:
    """Images that are trained on and validated (or tested) on as well."""
    train = visit.config.data.train_split
    for name, split in visit.splits.items():
        if train in visit.splits and name != train and visit.facts[name]:
            yield check_overlap(visit.splits[train], visit.facts[train], split, visit.facts[name], visit.full)


def check_crops(visit: Visit) -> Iterator[Finding]:
    """The crop's padding and the tile of class-uniform sampling."""
    data, augment = visit.config.data, visit.config.augment
    sizes = [facts.size for facts in visit.facts.get(data.train_split, []) if facts.size]
    if not sizes:
        return
    yield check_crop(sizes, crop_of(visit.config), (augment.scale_min, augment.scale_max), augment.pre_size)
    if data.class_uniform_pct > 0:
        yield check_tile(sizes, data.class_uniform_tile)
