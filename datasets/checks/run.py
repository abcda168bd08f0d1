"""Which checks a split goes through, before the first step of a run and in the doctor."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from datasets.base import Split
from datasets.checks.classes import check_classes
from datasets.checks.crops import Crop, check_crop, check_tile, check_whole
from datasets.checks.findings import Finding
from datasets.checks.label_ids import LabelIds
from datasets.checks.labels import check_ids
from datasets.checks.pixels import check_pixels, read_sizes
from datasets.checks.sizes import check_modes, check_pair_sizes, check_readable, check_sizes
from datasets.index import SplitIndex
from datasets.options import DataOptions


@dataclass(frozen=True)
class Plan:
    """What a run does with its data.

    Args:
        data: Its splits and class-uniform sampling.
        crop: How training crops are made.
        val_batch: Images that are validated in one batch.
        whole_batch: Whole images that are trained on in one batch, in some epochs; 0: crops only.
    """

    data: DataOptions
    crop: Crop
    val_batch: int = 1
    whole_batch: int = 0

    def trains(self, split: Split) -> bool:
        """True for the split that is trained on."""
        return split.split == self.data.train_split

    def validates(self, split: Split) -> bool:
        """True for the split that is validated on."""
        return split.split == self.data.val_split


Check = Callable[[Split, SplitIndex, Plan], Iterator[Finding]]


def check_files(split: Split, index: SplitIndex, plan: Plan) -> Iterator[Finding]:
    """How the split came about, files that can't be read, sizes and modes."""
    yield from (Finding("note", note) for note in split.notes)
    yield from check_readable(split, index)
    yield from check_pair_sizes(split, index)
    yield from check_sizes(split, index, plan.val_batch if plan.validates(split) else 1)
    yield from check_modes(split, index)
    yield from check_pixels(split, index)


def check_labels(split: Split, index: SplitIndex, plan: Plan) -> Iterator[Finding]:
    """Ids that mean nothing or something else, and classes that don't occur."""
    ids = LabelIds(split, index)
    yield from check_ids(split, ids)
    if plan.trains(split):
        yield from check_classes(split, ids, plan.data.class_uniform_pct)


def check_crops(split: Split, index: SplitIndex, plan: Plan) -> Iterator[Finding]:
    """Crop and tile, beside the images that are trained on."""
    sizes = [size for size in map(tuple, read_sizes(split, index).tolist()) if all(size)]
    if plan.trains(split) and sizes:
        yield check_crop(sizes, plan.crop)
        if plan.whole_batch:
            yield check_whole(sizes, plan.crop, plan.whole_batch)
        if plan.data.class_uniform_pct > 0:
            yield check_tile(sizes, plan.data.class_uniform_tile)


CHECKS: dict[str, Check] = {"Files": check_files, "Labels": check_labels, "Crop and sampling": check_crops}


def run_check(check: Check, split: Split, index: SplitIndex, plan: Plan) -> Iterator[Finding]:
    """One of `CHECKS`; what is wrong with a split that the run doesn't need is no error."""
    needed = plan.trains(split) or plan.validates(split)
    for finding in check(split, index, plan):
        yield finding if needed or finding.severity != "error" else replace(finding, severity="warning")
