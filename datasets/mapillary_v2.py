"""Mapillary Vistas with the finer classes of version 2.0: 124 of them, named by the archive's `config_v2.0.json`.

Source: Neuhold et al., The Mapillary Vistas Dataset for Semantic Understanding of Street Scenes, ICCV 2017.
"""

from pathlib import Path

from datasets.base import FileSplit
from datasets.layout import OnUnpaired, raise_error
from datasets.mapillary import PARTS, PUBLISHED_COUNTS, split_classes, split_items

__all__ = ["PUBLISHED_COUNTS", "build_split"]

CONFIG = "config_v2.0.json"
EXPECTED = f"{CONFIG}, training/images, training/v2.0/labels, validation/... and testing/images"


def build_split(root: Path, split: str, cv: int = 0, on_unpaired: OnUnpaired = raise_error) -> FileSplit:
    """One split with the classes of version 2.0.

    Args:
        root: Folder with `config_v2.0.json` and `training/v2.0/labels`: the archive of version 2.0.
        split: `train`, `val`, `trainval` or `test` (without labels).
        cv: Only 0, the official split.
        on_unpaired: Called with a fault of pairing; by default it is raised.

    Raises:
        OptionError: Unknown split or fold.
        DataError: The configuration is missing or malformed, or an image or a label has no partner.
    """
    root = Path(root)
    classes = split_classes("mapillary_v2", root, split, cv, (CONFIG,), EXPECTED)
    labels = {part: root / part / "v2.0" / "labels" for part in PARTS[split]}
    return FileSplit("mapillary_v2", split, classes, split_items(root, split, labels, EXPECTED, on_unpaired))
