"""The data sets by name. Adding one = one file with a `build_split` and one line below."""

from collections.abc import Callable
from pathlib import Path

from datasets import camvid, cityscapes, folder, synthetic
from datasets.base import Split
from utils.errors import OptionError

_REGISTRY: dict[str, Callable[..., Split]] = {
    "camvid": camvid.build_split,
    "cityscapes": cityscapes.build_split,
    "folder": folder.build_split,
    "synthetic": synthetic.build_split,
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
    if name not in _REGISTRY:
        raise OptionError(f"--dataset {name}: unknown data set; choose one of {', '.join(list_datasets())}")
    return _REGISTRY[name](Path(root), split, cv)
