"""The data set: builds its splits, reads some of their samples, and hands them to the checks of `datasets.checks`."""

from collections.abc import Iterator
from pathlib import Path

import datasets
from datasets.base import Split
from datasets.checks.findings import Finding
from datasets.checks.inspection import choose_samples, inspect_images
from datasets.checks.label_ids import LabelIds, as_table
from datasets.checks.run import CHECKS, run_check
from datasets.checks.sizes import check_images, image_sizes
from datasets.checks.splits import check_count, check_overlap, check_pairs
from datasets.index import SplitIndex, build_index, open_index
from engine.training.build import norm_of, trained_part
from engine.training.checks import check_batches
from scripts.doctor_checks.visit import Visit
from utils.devices import choose_device
from utils.distributed import Process
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
            if str(error) in said:
                continue
            said.add(str(error))
            if name in needed:
                yield Finding("error", f"{name}: can't be used", (str(error),), "lay it out as DATASETs.md says")
            else:
                yield Finding("note", f"{name}: not there; it is needed for predictions only", (str(error),))
            continue
        visit.splits[name] = split
        visit.details.setdefault("counts", {})[name] = len(split)
        yield from check_pairs(split, unpaired)
        published = datasets.published_counts(data.dataset).get(name) if data.cv == 0 else None
        yield check_count(split, published, name in needed)


def _index(visit: Visit, split: Split, seconds: float | None) -> SplitIndex:
    """That of the runs in --ckpt, if there are any: the doctor makes no folder."""
    folder = Path(visit.config.run.ckpt)
    if folder.is_dir():
        return open_index(split, folder, seconds, visit.full)
    return build_index(split, seconds, visit.full)


def read_files(visit: Visit, count: int, seconds: float) -> Iterator[Finding]:
    """Reads headers and labels of all splits and decodes `count` images of each; with `full` all, however long.

    Args:
        visit: Gets what was read.
        count: Images of each split.
        seconds: In which labels are read, and again in which images are; what is left then is left out.
    """
    limit = None if visit.full else seconds
    for name, split in visit.splits.items():
        visit.indexes[name] = _index(visit, split, limit and limit / len(visit.splits))
        visit.details.setdefault("sizes", {})[name] = dict(image_sizes(split, visit.indexes[name]))
    chosen = {
        name: choose_samples(split, len(split) if visit.full else count, visit.seed)
        for name, split in visit.splits.items()
    }
    # the splits take turns, so that each has its share if time runs out
    turns = sorted((turn, name) for name, indices in chosen.items() for turn in range(len(indices)))
    jobs = [(name, chosen[name][turn]) for turn, name in turns]
    found = inspect_images([(visit.splits[name], index) for name, index in jobs], limit, visit.full)
    visit.facts = {name: [] for name in visit.splits}
    for (name, _), facts in zip(jobs, found, strict=True):
        if facts is not None:
            visit.facts[name].append(facts)
    labels = sum(int((~index.read).sum()) for index in visit.indexes.values())
    for number, what in ((labels, "labels"), (found.count(None), f"of {len(jobs)} chosen images")):
        if number:
            yield Finding(
                "note", f"{number} {what} were not read, to be done within a minute", remedy="--full reads all"
            )


def check_files(visit: Visit, count: int, seconds: float) -> Iterator[Finding]:
    """Reads the files; those that are damaged, sizes and modes."""
    yield from read_files(visit, count, seconds)
    for name, samples in visit.facts.items():
        yield from check_images(visit.splits[name], samples, visit.indexes[name])
    yield from _on_splits(visit, "Files")


def check_labels(visit: Visit) -> Iterator[Finding]:
    """The ids of all splits, and the classes of the training split."""
    name = visit.config.data.train_split
    if name in visit.indexes:
        ids = LabelIds(visit.splits[name], visit.indexes[name])
        visit.details["classes"] = as_table(ids)
        visit.details["label_ids"] = {str(i): pixels for i, pixels in ids.id_pixels().items()}
    yield from _on_splits(visit, "Labels")


def _on_splits(visit: Visit, title: str) -> Iterator[Finding]:
    """Findings of one of the checks that train.py makes, too; none twice."""
    said = set()
    for name, index in visit.indexes.items():
        for finding in run_check(CHECKS[title], visit.splits[name], index, visit.plan):
            if finding not in said:
                said.add(finding)
                yield finding


def check_duplicates(visit: Visit) -> Iterator[Finding]:
    """Images that are trained on and validated (or tested) on as well."""
    train = visit.config.data.train_split
    for name, split in visit.splits.items():
        if train in visit.splits and name != train and visit.facts.get(name):
            yield check_overlap(visit.splits[train], visit.facts[train], split, visit.facts[name], visit.full)


def check_crops(visit: Visit) -> Iterator[Finding]:
    """The crop's padding, the tile of class-uniform sampling, and the batch on a single process."""
    yield from _on_splits(visit, "Crop and sampling")
    config, split = visit.config, visit.splits.get(visit.config.data.train_split)
    if split is None:
        return
    norm = norm_of(config, Process(0, 1, choose_device(config.compute.device)))
    try:
        split = trained_part(split, config.data)
    except (OptionError, DataError) as error:
        yield Finding("error", str(error), exit_code=error.exit_code)
        return
    try:
        check_batches(split.epoch_length, config.schedule.for_processes(1), norm, 1)
    except OptionError as error:
        several = config.schedule.bs_mult == 1 or config.schedule.global_batch is not None  # GPUs may do
        alone = split.epoch_length < 2 or not several
        what = f"a run on one process is refused: {error}"
        yield Finding("error" if alone else "warning", what, exit_code=OptionError.exit_code)
