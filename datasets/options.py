"""Options of the training and validation data."""

import os
from dataclasses import dataclass
from pathlib import Path

from datasets import list_datasets, resolve_name
from utils.errors import OptionError
from utils.machine import MOST_LOADERS, loader_processes
from utils.options import check, numbers, option

MAX_WORKERS = 256
MOST_SECONDS = 2_000_000  # that the system waits at most: 31 bits of milliseconds


@dataclass(frozen=True)
class DataOptions:
    """data"""

    dataset: str = option("cityscapes", f"data set: {', '.join(list_datasets())}")
    data_root: str | None = option(None, "its folder; unset: $FENET_DATA/<dataset>, then ./data/<dataset>")
    cv: int = option(0, "cross-validation split; 0 is the official one", flags=("--cv_split",))
    train_split: str = option("train", "split to train on")
    val_split: str = option("val", "split to validate on")
    limit_images: int | None = option(None, "train on so many images of --train_split, always the same; unset: all")
    class_uniform_pct: float = option(0.5, "fraction of crops centred on class centroids")
    class_uniform_tile: int = option(1024, "tile of the class centroids, pixels")
    max_cu_epoch: int = option(100000, "last epoch with class-uniform sampling")
    coarse_boost_classes: tuple | None = option(
        None, "train ids topped up from coarse labels, comma-separated", parse=numbers(int)
    )
    num_workers: int | None = option(
        None, f"loader processes per process; unset: its share of the cores, 1 to {MOST_LOADERS}; 0: the process itself"
    )
    worker_timeout: int = option(300, "seconds without a batch after which a loader process counts as stuck")
    cache: str = option("off", "decoded training samples: off; ram; disk: in <ckpt>/cache; or a folder")

    def __post_init__(self) -> None:
        object.__setattr__(self, "dataset", resolve_name(self.dataset))
        share = self.class_uniform_pct
        check(0 <= share <= 1, "--class_uniform_pct", share, "must be from 0 to 1")
        for name in ("class_uniform_tile", "worker_timeout", "limit_images"):
            value = getattr(self, name)
            check(value is None or value >= 1, f"--{name}", value, "must be at least 1")
        seconds = self.worker_timeout
        check(seconds <= MOST_SECONDS, "--worker_timeout", seconds, f"must be at most {MOST_SECONDS}")
        object.__setattr__(self, "num_workers", choose_workers(self.num_workers))
        if self.coarse_boost_classes and self.class_uniform_pct == 0:
            raise OptionError("--coarse_boost_classes: needs class-uniform sampling; set --class_uniform_pct above 0")

    @property
    def root(self) -> Path:
        """Folder of the data set."""
        return find_root(self.dataset, self.data_root)


def find_root(dataset: str, given: str | None) -> Path:
    """`--data_root`, or `$FENET_DATA/<dataset>` if there is such a folder, or `./data/<dataset>`."""
    if given is not None:
        return Path(given)
    shared = os.environ.get("FENET_DATA")
    if shared and (Path(shared) / dataset).is_dir():
        return Path(shared) / dataset
    return Path("data") / dataset


def choose_workers(given: int | None) -> int:
    """`--num_workers`, or where it isn't given, by the cores. Raises `OptionError` for a number that cannot work."""
    if given is None:
        return loader_processes()
    rule = f"must be from 0 to {MAX_WORKERS}; one per CPU core is plenty"
    check(0 <= given <= MAX_WORKERS, "--num_workers", given, rule)
    return given
