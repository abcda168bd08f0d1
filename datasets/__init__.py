"""The data sets by name. Adding one = one file with `build_split` (and `CLASSES`, if fixed) and one line below."""

from pathlib import Path
from types import ModuleType

from datasets import camvid, cityscapes, folder, synthetic
from datasets.base import ClassTable, Split
from utils.errors import OptionError

_REGISTRY: dict[str, ModuleType] = {
    "camvid": camvid,
    "cityscapes": cityscapes,
    "folder": folder,
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
