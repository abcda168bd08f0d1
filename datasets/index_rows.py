"""What the files of a split hold, one row a sample: sizes, modes and orientations from the headers, ids of the labels.

Checks, class-uniform sampling and the fingerprint of a run read this, so that no file is looked at twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from datasets.decoding import UPRIGHT

PER_SAMPLE = ("read", "image_sizes", "orientations", "label_sizes", "digests")  # arrays with a row a sample


@dataclass
class SplitIndex:
    """N rows, one a sample of the split; what isn't known is 0 or empty.

    Attributes:
        read: bool (N,): the sample's files were looked at.
        image_sizes: int32 (N,2), (height, width) of the stored pixels.
        image_modes: Pillow's mode of each image file, N strings.
        orientations: uint8 (N,), EXIF's orientation of the image, 1 to 8; 1 is upright.
        label_sizes: int32 (N,2).
        label_modes: Pillow's mode of each label file, N strings.
        digests: uint64 (N,2), 8 bytes of a digest of the image's and of the label's file.
        starts: int64 (N+1,), the rows of `ids` and `pixels` that belong to each sample.
        ids: uint8 (M,), original label ids in the labels, ascending for each sample.
        pixels: int64 (M,), how many pixels hold them.
        faults: Sample -> why its label or header can't be read, in one line that names the file.
    """

    read: np.ndarray
    image_sizes: np.ndarray
    image_modes: list[str]
    orientations: np.ndarray
    label_sizes: np.ndarray
    label_modes: list[str]
    digests: np.ndarray
    starts: np.ndarray
    ids: np.ndarray
    pixels: np.ndarray
    faults: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.read)

    def id_pixels(self) -> np.ndarray:
        """Pixels of each original label id over all labels: int64 (256,)."""
        return np.bincount(self.ids, self.pixels, 256).astype(np.int64)

    def label_ids(self, index: int) -> dict[int, int]:
        """Original id -> pixels of one label."""
        rows = slice(self.starts[index], self.starts[index + 1])
        return dict(zip(self.ids[rows].tolist(), self.pixels[rows].tolist(), strict=True))

    def take(self, rows: np.ndarray) -> "SplitIndex":
        """The index of some rows (int64), in this order."""
        counts, order = np.diff(self.starts)[rows], rows.tolist()
        starts = np.concatenate([[0], np.cumsum(counts)])
        inner = np.arange(starts[-1]) + np.repeat(self.starts[rows] - starts[:-1], counts)  # rows of ids and pixels
        return SplitIndex(
            **{name: getattr(self, name)[rows] for name in PER_SAMPLE},
            image_modes=[self.image_modes[row] for row in order],
            label_modes=[self.label_modes[row] for row in order],
            starts=starts,
            ids=self.ids[inner],
            pixels=self.pixels[inner],
            faults={i: self.faults[row] for i, row in enumerate(order) if row in self.faults} if self.faults else {},
        )

    @classmethod
    def join(cls, parts: "Sequence[SplitIndex]") -> "SplitIndex":
        """The rows of several, one after the other."""
        firsts = np.cumsum([0, *map(len, parts)]).tolist()
        counts = np.concatenate([np.diff(part.starts) for part in parts])
        arrays = {name: [getattr(part, name) for part in parts] for name in (*PER_SAMPLE, "ids", "pixels")}
        faults = [
            (first + row, part.faults[row])
            for first, part in zip(firsts[:-1], parts, strict=True)
            for row in part.faults
        ]
        return cls(
            **{name: np.concatenate(several) for name, several in arrays.items()},
            image_modes=[mode for part in parts for mode in part.image_modes],
            label_modes=[mode for part in parts for mode in part.label_modes],
            starts=np.concatenate([[0], np.cumsum(counts)]),
            faults=dict(faults),
        )

    @classmethod
    def of(cls, rows: Sequence[dict | None]) -> "SplitIndex":
        """The index of what `look_at` saw; None: the sample wasn't looked at."""
        seen = [row or {} for row in rows]
        counts = [len(row.get("ids", ())) for row in seen]
        return cls(
            read=np.array([row is not None for row in rows], bool),
            image_sizes=np.array([row.get("image_size", (0, 0)) for row in seen], np.int32).reshape(-1, 2),
            image_modes=[row.get("image_mode", "") for row in seen],
            orientations=np.array([row.get("orientation", UPRIGHT) for row in seen], np.uint8),
            label_sizes=np.array([row.get("label_size", (0, 0)) for row in seen], np.int32).reshape(-1, 2),
            label_modes=[row.get("label_mode", "") for row in seen],
            digests=np.array(
                [(row.get("image_digest", 0), row.get("label_digest", 0)) for row in seen], np.uint64
            ).reshape(-1, 2),
            starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            ids=np.concatenate([np.empty(0, np.uint8), *(row.get("ids", ()) for row in seen)]).astype(np.uint8),
            pixels=np.concatenate([np.empty(0, np.int64), *(row.get("pixels", ()) for row in seen)]).astype(np.int64),
            faults={index: row["fault"] for index, row in enumerate(seen) if row.get("fault")},
        )
