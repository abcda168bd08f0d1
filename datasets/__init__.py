"""The data sets by name. Adding one = one file with `build_split` and one line below.

Such a file also has `CLASSES` where they are fixed, `COARSE_SPLIT` where a split has coarse labels, and
`PUBLISHED_COUNTS` (split -> samples) where its authors give them. Options, help, doctor and tests find it here.
"""

import inspect
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType

from datasets.base import ClassTable, FileSplit, Split
from datasets.boost import BoostedSplit
from datasets.layout import OnUnpaired, raise_error
from utils.errors import OptionError

# name -> module; imported when it is asked for
_REGISTRY = {
    "acdc": "datasets.acdc",
    "bdd100k": "datasets.bdd100k",
    "camvid": "datasets.camvid",
    "cityscapes": "datasets.cityscapes",
    "folder": "datasets.folder",
    "idd": "datasets.idd",
    "kitti": "datasets.kitti",
    "mapillary": "datasets.mapillary",
    "mapillary_v2": "datasets.mapillary_v2",
    "merged_dataset": "datasets.merged",
    "synthetic": "datasets.synthetic.split",
}

_ALIASES = {"bdd": "bdd100k"}  # names of the SFNet release


def list_datasets() -> list[str]:
    """Names that `build_split` knows, sorted."""
    return sorted(_REGISTRY)


def build_split(name: str, root: str | Path, split: str, cv: int = 0, on_unpaired: OnUnpaired = raise_error) -> Split:
    """One split of the data set `name` that lies below `root`.

    Args:
        name: One of `list_datasets`.
        root: The data set's folder.
        split: Such as `train`.
        cv: Cross-validation split; 0 is the official one.
        on_unpaired: Called with the `DataError` of images without labels, and of labels without images; where it
            returns, they are left out. Ignored by a data set whose `build_split` doesn't take it.

    Raises:
        OptionError: Unknown data set, split or cross-validation split; the message names what there is.
        DataError: `root` does not hold the data set, or not completely.
    """
    build = _module(name).build_split
    more = {"on_unpaired": on_unpaired} if "on_unpaired" in inspect.signature(build).parameters else {}
    built = build(Path(root), split, cv, **more)
    if isinstance(built, FileSplit) and split != "train":
        built.rules_from = partial(build_split, name, root, "train", cv)
    return built


def published_counts(name: str) -> dict[str, int]:
    """Samples of the official splits, as far as the data set's authors give them."""
    return getattr(_module(name), "PUBLISHED_COUNTS", {})


def add_coarse(name: str, root: str | Path, split: Split, classes: Sequence[int]) -> BoostedSplit:
    """A training split whose `classes` (train ids) are topped up from the data set's coarsely labelled images.

    Raises:
        OptionError: The data set has no coarse labels, or `classes` holds an id that it doesn't have.
        DataError: The coarse images or labels are missing.
    """
    module = _module(name)
    if not hasattr(module, "COARSE_SPLIT"):
        offered = ", ".join(other for other in list_datasets() if hasattr(_module(other), "COARSE_SPLIT"))
        raise OptionError(
            f"--coarse_boost_classes: data set {name} has no coarse labels, only {offered} has; leave the flag out"
        )
    return BoostedSplit(split, build_split(name, root, module.COARSE_SPLIT), classes)


def class_table(name: str) -> ClassTable | None:
    """The classes of a data set, without its data; None where they come with it. Raises `OptionError` if unknown."""
    return getattr(_module(name), "CLASSES", None)


def _module(name: str) -> ModuleType:
    return import_module(_REGISTRY[resolve_name(name)])


def resolve_name(name: str) -> str:
    """A registered name, from one or from that of the SFNet release.

    Raises:
        OptionError: Unknown data set.
    """
    name = _ALIASES.get(name, name)
    if name not in _REGISTRY:
        raise OptionError(f"--dataset {name}: unknown data set; choose one of {', '.join(list_datasets())}")
    return name
