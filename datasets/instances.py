"""Cityscapes' maps of instance ids, which lie beside its label maps."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datasets.base import FileSplit
from datasets.decoding import decode_picture, read_bytes
from datasets.reading import WIDE
from utils.errors import DataError, OptionError

INSTANCES = "instances"  # of a sample
LABEL_TAIL, INSTANCE_TAIL = "_labelIds.png", "_instanceIds.png"
PER_LABEL = 1000  # an id of an instance is its label id x 1000 + a number; ids below are label ids of no instance


def check_has_instances(dataset: str) -> None:
    """Raises `OptionError` unless a data set's layout has files of instance ids as Cityscapes has them."""
    if dataset != "cityscapes":
        raise OptionError(
            f"--instance_scores: {dataset} has no instance ids of Cityscapes; leave it out, or score"
            " --dataset cityscapes"
        )


@dataclass(frozen=True)
class InstanceFiles:
    """The instance ids of a split of Cityscapes.

    Raises:
        OptionError: `split` is of another data set.
    """

    split: FileSplit

    def __post_init__(self) -> None:
        check_has_instances(self.split.dataset)

    def path(self, index: int) -> Path:
        """The file of a sample."""
        label = self.split.items[index].label
        return label.with_name(label.name.removesuffix(LABEL_TAIL) + INSTANCE_TAIL)

    def check(self, indices: Sequence[int]) -> None:
        """Raises `DataError` naming the first file that isn't there, and how many."""
        missing = [index for index in indices if not self.path(index).is_file()]
        if missing:
            raise DataError(
                f"{self.path(missing[0])}: no such file ({len(missing)} of {len(indices)} missing), which"
                " --instance_scores needs; unpack gtFine_trainvaltest.zip again, or leave the option out"
            )

    def load(self, index: int) -> np.ndarray:
        """Ids (H,W) int32.

        Raises:
            DataError: The file can't be read, is not of the label's size, or holds an instance of an unknown label.
        """
        path = self.path(index)
        picture, header = decode_picture(read_bytes(path), path)
        if header.mode not in (*WIDE, "L"):
            raise DataError(f"{path}: of mode {header.mode}; instance ids are a 16-bit PNG with one channel")
        ids = np.asarray(picture).astype(np.int32)
        known = self.split.classes.id_to_train
        strange = ids.size and int(ids.max()) >= PER_LABEL and int(ids.max()) // PER_LABEL not in known
        if strange:
            raise DataError(f"{path}: id {ids.max()} is of no label of Cityscapes; get the file again")
        return ids
