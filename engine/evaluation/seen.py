"""Which images of a split a snapshot was trained on: a score of these says little about new ones."""

from collections.abc import Mapping
from pathlib import Path

import datasets
from datasets.base import Split
from utils.errors import DataError, OptionError
from utils.logging import get_logger


def seen_images(trained_on: Mapping, dataset: str, root: Path, split: Split) -> frozenset[str]:
    """Names of a split's images that were trained on.

    Args:
        trained_on: `dataset`, `split` and `cv` of a snapshot.
        dataset: Of `split`.
        root: Its folder.
        split: Any of its splits.
    """
    if trained_on["dataset"] != dataset:
        return frozenset()
    try:
        trained = datasets.build_split(dataset, root, trained_on["split"], trained_on["cv"])
    except (DataError, OptionError):  # what was trained on isn't there: the images that are came later
        return frozenset()
    paths = frozenset(trained.image_paths())
    if not paths:  # drawn, not read
        return frozenset(trained.names) & frozenset(split.names)
    return frozenset(name for i, name in enumerate(split.names) if str(split.files(i)[0]) in paths)  # names may recur


def warn_of_seen(trained_on: Mapping | None, dataset: str, root: Path, split: Split, cv: int) -> None:
    """Say in the log how many of the images that are scored were trained on; a data set's own `val` and `test` aren't.

    Args:
        trained_on: As above; None: the file doesn't say.
        dataset, root, split: As above.
        cv: Cross-validation split that `split` is of.
    """
    own = trained_on is not None and trained_on["cv"] == cv and split.split.startswith(("val", "test"))
    if trained_on is None or (own and trained_on["split"] == "train"):
        return
    if seen := len(seen_images(trained_on, dataset, root, split)):
        remedy = f"; the run's own is --cv_split {trained_on['cv']}" if trained_on["cv"] != cv else ""
        get_logger().warning(
            f"{seen} of the {len(split)} images of {split.split} were trained on, in {trained_on['split']}: the score"
            f" says little about new images{remedy}"
        )
