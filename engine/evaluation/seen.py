"""Which images of a split a snapshot was trained on: a score of these says little about new ones."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import datasets
from datasets.base import Split
from datasets.boost import BoostedSplit
from datasets.options import DataOptions
from datasets.part import limit_images
from utils.errors import DataError, OptionError
from utils.logging import get_logger


def describe_training(data: DataOptions, split: Split, base_size: int | None = None) -> dict:
    """`trained_on` of a snapshot: what its run trained on, as far as `seen_images` needs it, and the long side that it
    validated at; None: the images' own."""
    fine = split.fine if isinstance(split, BoostedSplit) else split  # the coarse images are in no other split
    named = {"dataset": data.dataset, "split": data.train_split, "cv": data.cv, "limit_images": data.limit_images}
    return named | {"images": images_sha256(fine), "base_size": base_size}


def images_sha256(split: Split) -> str:
    """SHA-256 (hex) of the images' names and sizes in bytes: labels may be mended."""
    text = "\n".join([*split.names, *map(str, split.file_stats()[:, 0, 0].tolist())])
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def seen_images(trained_on: Mapping, dataset: str, root: Path, split: Split) -> frozenset[str]:
    """Names of a split's images that were trained on; none where other images lie there now.

    Args:
        trained_on: What `describe_training` gave, perhaps without `images` and `limit_images`.
        dataset: Of `split`.
        root: Its folder.
        split: Any of its splits.
    """
    if trained_on["dataset"] != dataset:
        return frozenset()
    try:
        trained = datasets.build_split(dataset, root, trained_on["split"], trained_on["cv"])
        trained = limit_images(trained, trained_on.get("limit_images"))
    except (DataError, OptionError):  # what was trained on isn't there: the images that are came later
        return frozenset()
    if trained_on.get("images") not in (None, images_sha256(trained)):
        return frozenset()
    paths = frozenset(trained.image_paths())
    if not paths:  # drawn, not read
        return frozenset(trained.names) & frozenset(split.names)
    return frozenset(name for i, name in enumerate(split.names) if str(split.files(i)[0]) in paths)  # names may recur


def warn_of_seen(trained_on: Mapping | None, dataset: str, root: Path, split: Split, cv: int) -> None:
    """Say in the log how many of the images that are scored were trained on; a published `val` or `test` isn't.

    Args:
        trained_on: As above; None: the file doesn't say.
        dataset, root, split: As above.
        cv: Cross-validation split that `split` is of.
    """
    own = trained_on is not None and trained_on["cv"] == cv and split.split.startswith(("val", "test"))
    if trained_on is None or (own and trained_on["split"] == "train" and dataset != "folder"):  # its lists may overlap
        return
    if seen := len(seen_images(trained_on, dataset, root, split)):
        remedy = f"; the run's own is --cv_split {trained_on['cv']}" if trained_on["cv"] != cv else ""
        get_logger().warning(
            f"{seen} of the {len(split)} images of {split.split} were trained on, in {trained_on['split']}: the score"
            f" says little about new images{remedy}"
        )
