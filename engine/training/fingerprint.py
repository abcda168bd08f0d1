"""The fingerprint of a split, which a snapshot keeps of its data, and what differs between two."""

from dataclasses import dataclass

import numpy as np
import torch

from datasets.base import Split
from datasets.index import SplitIndex, data_digest, name_digests, sample_keys


def take_fingerprint(split: Split, index: SplitIndex) -> dict:
    """What identifies a split wherever its files lie; plain data and a tensor.

    Returns:
        `dataset` and `split` (names), `digest` (SHA-256, hex), `keys`: int64 (N,2), digests of the name and of the
        content of each sample (0 where samples are no files), in the split's order.
    """
    if split.files(0):
        keys, digest = sample_keys(index, split.names), data_digest(index, split)
    else:  # made, not read: nothing but the data set's own description can change
        names = name_digests(split.names)
        keys, digest = np.stack([names, np.zeros_like(names)], axis=1), split.fingerprint()
    keys = torch.from_numpy(keys.view(np.int64))
    return {"dataset": split.dataset, "split": split.split, "digest": digest, "keys": keys}


@dataclass(frozen=True)
class DataChange:
    """How two fingerprints differ, in samples.

    Attributes:
        before: Images in the first.
        now: Images in the second.
        removed: Names that only the first has.
        added: Names that only the second has.
        rewritten: Names of both whose image or label has another content.
        renamed: Samples whose content has another name; neither removed nor added.
        reordered: All samples are the same, in another order.
        is_other: They are of different data sets, or no name and no content is in both.
    """

    before: int
    now: int
    removed: int
    added: int
    rewritten: int
    renamed: int
    reordered: bool
    is_other: bool

    def __str__(self) -> str:
        counts = f"{self.removed} removed, {self.added} added, {self.rewritten} rewritten"
        if self.renamed:
            counts += f", {self.renamed} renamed"
        elif not (self.removed or self.added or self.rewritten):
            counts = "the same in another order" if self.reordered else "the same, with another class table"
        return f"{self.before} images -> {self.now}: {counts}"


def compare_fingerprints(before: dict, now: dict) -> DataChange | None:
    """What differs between two of `take_fingerprint`; None: nothing."""
    old, new = before["keys"].numpy(), now["keys"].numpy()
    if before["digest"] == now["digest"] and np.array_equal(old, new):
        return None
    names, in_old, in_new = np.intersect1d(old[:, 0], new[:, 0], return_indices=True)
    gone, come = (np.delete(keys[:, 1], kept) for keys, kept in ((old, in_old), (new, in_new)))
    renamed = np.count_nonzero(np.intersect1d(gone, come))
    return DataChange(
        before=len(old),
        now=len(new),
        removed=len(gone) - renamed,
        added=len(come) - renamed,
        rewritten=int((old[in_old, 1] != new[in_new, 1]).sum()),
        renamed=renamed,
        reordered=not np.array_equal(old[:, 0], new[:, 0]),
        is_other=before["dataset"] != now["dataset"] or not (len(names) or renamed),
    )
