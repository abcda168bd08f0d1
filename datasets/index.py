"""What the files of a split hold, one row a sample: sizes, modes and orientations from the headers, ids of the labels.

Checks, class-uniform sampling and the fingerprint of a run read this, so that no file is looked at twice.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from datasets.base import FileSplit, Split
from datasets.reading import FORMATS
from utils.errors import DataError
from utils.files import file_sha256
from utils.logging import Progress
from utils.threads import parallel_map

ORIENTATION = 0x0112  # EXIF's tag
UPRIGHT = 1
MIX = np.uint64(0x9E3779B97F4A7C15)


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

    def id_labels(self) -> np.ndarray:
        """How many labels hold each original id: int64 (256,)."""
        return np.bincount(self.ids, minlength=256)

    def label_ids(self, index: int) -> dict[int, int]:
        """Original id -> pixels of one label."""
        rows = slice(self.starts[index], self.starts[index + 1])
        return dict(zip(self.ids[rows].tolist(), self.pixels[rows].tolist(), strict=True))


def open_index(split: Split, folder: Path, seconds: float | None = None, progress: bool = False) -> SplitIndex:
    """The index of a split, kept in `folder`: files that are as they were are not read again.

    Args:
        split: Any split.
        folder: The run's `--ckpt`.
        seconds: After them no further sample is looked at; None: all are.
        progress: Show a bar.
    """
    return build_index(split, seconds, progress)


def sample_keys(index: SplitIndex, names: Sequence[str]) -> np.ndarray:
    """What identifies each sample: uint64 (N,2), digests of its name and of the content of its image and label."""
    contents = index.digests[:, 0] * MIX + index.digests[:, 1]  # modulo 2**64
    return np.stack([name_digests(names), contents], axis=1)


def name_digests(names: Sequence[str]) -> np.ndarray:
    """8 bytes of a digest of each name: uint64 (N,)."""
    digests = (hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest() for name in names)
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


def data_digest(index: SplitIndex, split: Split) -> str:
    """SHA-256 (hex) of what a split holds: names and contents of its samples in any order, and its class table.

    Where the files lie and when they were written doesn't count.
    """
    keys, table = sample_keys(index, split.names), split.classes.to_dict(split.dataset)
    digest = hashlib.sha256(json.dumps(table, sort_keys=True).encode())
    if len(split) and not split.files(0):  # images that are no files have no digests
        digest.update(split.fingerprint().encode())
    digest.update(keys[np.lexsort(keys.T)].astype("<u8").tobytes())
    return digest.hexdigest()


def build_index(split: Split, seconds: float | None = None, progress: bool = False) -> SplitIndex:
    """Look at the files of a split: at the images' headers, at all of the labels.

    Args:
        split: Any split; where samples aren't files, labels are made and images left alone.
        seconds: After them no further sample is looked at; None: all are.
        progress: Show a bar.
    """
    end = None if seconds is None else time.monotonic() + seconds

    def look(index: int) -> dict | None:
        return None if end is not None and time.monotonic() > end else _look(split, index)

    rows = list(Progress(parallel_map(look, range(len(split))), "files", progress, total=len(split)))
    return _table(rows)


def _look(split: Split, index: int) -> dict:
    row: dict = {"fault": ""}
    files = split.files(index)
    try:
        if files:
            row["image_size"], row["image_mode"], row["orientation"] = _header(files[0])
            row["image_digest"] = _digest(files[0])
        if len(files) > 1:
            row["label_size"], row["label_mode"], _ = _header(files[1])
            row["label_digest"] = _digest(files[1])
        if split.has_labels:
            row["ids"], row["pixels"], row["label_size"] = _count(split, index)
    except DataError as error:
        row["fault"] = str(error)
    return row


def _header(path: Path) -> tuple[tuple[int, int], str, int]:
    """(height, width), mode and orientation."""
    try:
        with Image.open(path, formats=FORMATS) as picture:
            return (picture.height, picture.width), picture.mode, picture.getexif().get(ORIENTATION, UPRIGHT)
    except Exception as error:  # Pillow raises many kinds for damaged files
        raise DataError(f"{path}: not a readable image ({error or type(error).__name__}); replace the file") from error


def _digest(path: Path) -> int:
    return int(file_sha256(path)[:16], 16)


def _count(split: Split, index: int) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Original ids, their pixels, and the label's (height, width)."""
    if isinstance(split, FileSplit):
        label, names = split.load_label_ids(index), np.arange(256)
    else:
        label, names = split.load_label(index), np.full(256, 255)
        names[: split.classes.num_classes] = split.classes.label_ids
    counts = np.bincount(label.ravel(), minlength=256)
    found = np.flatnonzero(counts)
    return names[found], counts[found], label.shape


def _table(rows: list[dict | None]) -> SplitIndex:
    seen = [row or {} for row in rows]
    counts = [len(row.get("ids", ())) for row in seen]
    return SplitIndex(
        read=np.array([row is not None for row in rows], bool),
        image_sizes=np.array([row.get("image_size", (0, 0)) for row in seen], np.int32).reshape(-1, 2),
        image_modes=[row.get("image_mode", "") for row in seen],
        orientations=np.array([row.get("orientation", UPRIGHT) for row in seen], np.uint8),
        label_sizes=np.array([row.get("label_size", (0, 0)) for row in seen], np.int32).reshape(-1, 2),
        label_modes=[row.get("label_mode", "") for row in seen],
        digests=np.array([(row.get("image_digest", 0), row.get("label_digest", 0)) for row in seen], np.uint64).reshape(
            -1, 2
        ),
        starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        ids=np.concatenate([np.empty(0, np.uint8), *(row.get("ids", ()) for row in seen)]).astype(np.uint8),
        pixels=np.concatenate([np.empty(0, np.int64), *(row.get("pixels", ()) for row in seen)]).astype(np.int64),
        faults={index: row["fault"] for index, row in enumerate(seen) if row.get("fault")},
    )
