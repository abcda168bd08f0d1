"""The data sets by name. Adding one = one file with `build_split` and one line below.

Such a file also has `CLASSES` where they are fixed, and `COARSE_SPLIT` where a split has coarse labels.
"""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from datasets import bdd100k, camvid, cityscapes, folder, idd, kitti, mapillary
from datasets.base import ClassTable, Split
from datasets.boost import BoostedSplit
from datasets.synthetic import split as synthetic
from utils.errors import OptionError

_REGISTRY: dict[str, ModuleType] = {
    "bdd100k": bdd100k,
    "camvid": camvid,
    "cityscapes": cityscapes,
    "folder": folder,
    "idd": idd,
    "kitti": kitti,
    "mapillary": mapillary,
    "synthetic": synthetic,
}


def list_datasets() -> list[str]:
    """Names that `build_split` knows, sorted."""
    return sorted(_REGISTRY)


def build_split(name: str, root: str | Path, split: str, cv: int = 0) -> Split:
    """One split of the data set `name` that lies below `root`.

    Raises:
        OptionError: Unknown data set, split or cross-validation split; the message names what there is.
        DataError: `root` does not hold the data set, or not completely.
    """
    return _module(name).build_split(Path(root), split, cv)


def list_splits(name: str) -> tuple[str, ...]:
    """Splits that the data set `name` knows. Raises `OptionError` for an unknown one."""
    return _module(name).SPLITS


def add_coarse(name: str, root: str | Path, split: Split, classes: Sequence[int]) -> BoostedSplit:
    """A training split whose `classes` (train ids) are topped up from the data set's coarsely labelled images.

    Raises:
        OptionError: The data set has no coarse labels, or `classes` holds an id that it doesn't have.
        DataError: The coarse images or labels are missing.
    """
    module = _module(name)
    if not hasattr(module, "COARSE_SPLIT"):
        offered = ", ".join(other for other in list_datasets() if hasattr(_REGISTRY[other], "COARSE_SPLIT"))
        raise OptionError(
            f"--coarse_boost_classes: data set {name} has no coarse labels, only {offered} has; leave the flag out"
        )
    return BoostedSplit(split, module.build_split(Path(root), module.COARSE_SPLIT), classes)


def class_table(name: str) -> ClassTable:
    """The classes of a data set, without its data.

    Raises:
        OptionError: Unknown data set, or one whose classes are known from its data only.
    """
    module = _module(name)
    if not hasattr(module, "CLASSES"):
        raise OptionError(
            f"--dataset {name}: its classes are those of your data; use a snapshot of ours, which holds them"
        )
    return module.CLASSES


def _module(name: str) -> ModuleType:
    if name not in _REGISTRY:
        raise OptionError(f"--dataset {name}: unknown data set; choose one of {', '.join(list_datasets())}")
    return _REGISTRY[name]
