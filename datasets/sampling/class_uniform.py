"""Class-uniform sampling: where each class is in the images, and an epoch's plan of crops drawn from that.

Source: Zhu et al., Improving Semantic Segmentation via Video Propagation and Label Relaxation, CVPR 2019, section 4.1
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from datasets.base import Split
from datasets.sampling.centroid_file import VERSION, read_centroids, write_centroids
from utils.constants import IGNORE_LABEL
from utils.logging import Progress, get_logger
from utils.threads import parallel_map

# by train id: int32 (K,3) rows of image, x, y
Centroids = list[np.ndarray]
NOTHING = -1  # in a plan: no centroid, no class


@dataclass(frozen=True)
class CropSample:
    """One training sample to be made.

    Args:
        image: Index into the split.
        centroid: (x, y) in pixels of the image that the crop has to contain; None for a crop anywhere.
        class_id: Train id that the centroid belongs to; None without one.
        epoch: Epoch that the draw belongs to.
        index: Position in the epoch's plan, over all processes.
    """

    image: int
    centroid: tuple[int, int] | None
    class_id: int | None
    epoch: int
    index: int


class EpochPlan(Sequence[CropSample]):
    """The draws of an epoch, each made an object when it is asked for.

    Args:
        epoch: Its number, from 0.
        rows: int64 (N,5), image, x, y, class and index of each draw; x, y and class are -1 without a centroid.
    """

    def __init__(self, epoch: int, rows: np.ndarray) -> None:
        self.epoch, self.rows = epoch, rows

    @property
    def images(self) -> np.ndarray:
        """Index of each draw's image: int64 (N,)."""
        return self.rows[:, 0]

    @property
    def class_ids(self) -> np.ndarray:
        """Train id that each draw is centred on, -1 where it is on none: int64 (N,)."""
        return self.rows[:, 3]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: int | slice) -> "CropSample | EpochPlan":
        """A draw; for a slice a plan."""
        if isinstance(key, slice):
            return EpochPlan(self.epoch, self.rows[key])
        image, x, y, class_id, index = self.rows[key].tolist()
        centred = class_id != NOTHING
        return CropSample(image, (x, y) if centred else None, class_id if centred else None, self.epoch, index)


def tile_centroids(label: np.ndarray, tile: int) -> list[tuple[int, int, int]]:
    """Mean position of each class in each tile of a label map.

    Args:
        label: Train ids (H,W) uint8, 255 where ignored.
        tile: Side of a tile in pixels; tiles at the right and lower edge may be smaller.

    Returns:
        (class, x, y) per tile, row by row, and class present in it; x and y in pixels of the whole map, rounded down.
    """
    found = []
    for top in range(0, label.shape[0], tile):
        for left in range(0, label.shape[1], tile):
            window = np.ascontiguousarray(label[top : top + tile, left : left + tile])
            counts = cv2.calcHist([window], [0], None, [256], [0, 256]).ravel()
            for class_id in np.flatnonzero(counts[:IGNORE_LABEL]).tolist():
                # not cv2.compare, which takes the number for an array where the window is one pixel
                moments = cv2.moments((window == class_id).view(np.uint8), binaryImage=True)
                x, y = moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]
                found.append((class_id, left + int(x), top + int(y)))
    return found


def extract_centroids(split: Split, tile: int, progress: bool = False) -> Centroids:
    """Centroids of a whole split, read from all its label maps; an image no larger than a tile is one tile."""

    def look(index: int) -> np.ndarray:
        found = [(class_id, index, x, y) for class_id, x, y in tile_centroids(split.load_label(index), tile)]
        return np.array(found, np.int32).reshape(-1, 4)

    parts = Progress(parallel_map(look, range(len(split))), "class centroids", progress, total=len(split))
    rows = np.concatenate([np.empty((0, 4), np.int32), *parts])
    return [rows[rows[:, 0] == class_id, 1:] for class_id in range(split.classes.num_classes)]


def load_centroids(split: Split, tile: int, path: Path, content: str, progress: bool = False) -> Centroids:
    """Centroids of a split, from the file if it is about the same labels, else extracted (and kept).

    Args:
        split: A labelled split.
        tile: Side of a tile in pixels.
        path: File that is read, and written atomically where it is missing, stale or damaged.
        content: Digest of all labels.
        progress: Show a bar while extracting.

    Raises:
        DataError: A label map is missing or wrong.
    """
    header = {"centroids": VERSION, "content": content, "tile": tile}
    centroids = read_centroids(path, header, len(split), split.classes.num_classes)
    if centroids is None:
        get_logger().info(f"looking for the classes in {len(split)} label maps, once: {path}")
        centroids = extract_centroids(split, tile, progress)
        write_centroids(path, header, centroids)
    return centroids


def sample_epoch(
    num_images: int, centroids: Centroids | None, class_uniform_pct: float, seed: int, epoch: int
) -> EpochPlan:
    """The draws of one epoch, as many as there are images; the same on every rank.

    Args:
        num_images: Length of the split.
        centroids: What `load_centroids` returned; may be None where the share is 0.
        class_uniform_pct: Share of the draws, 0 to 1, that are centred on class centroids, shared out evenly over the
            classes that the data has. The other draws are images in random order, none twice before all were once.
        seed: Seed of the run.
        epoch: Epoch, from 0.
    """
    # the spawn key keeps this stream apart from those of the samples, which are seeded by (seed, epoch, index)
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, epoch], spawn_key=(0,))))
    present = [class_id for class_id, rows in enumerate(centroids or []) if len(rows)]
    num_uniform = round(class_uniform_pct * num_images) if present else 0
    rows, start = np.full((num_images, 5), NOTHING, np.int64), 0
    for class_id, count in zip(present, _even_shares(rng, num_uniform, len(present)), strict=True):
        centred = rows[start : start + count]
        centred[:, :3] = centroids[class_id][_cycled(rng, len(centroids[class_id]), count)]
        centred[:, 3] = class_id
        start += count
    rows[start:, 0] = _cycled(rng, num_images, num_images - num_uniform)
    rows = rows[rng.permutation(num_images)]
    rows[:, 4] = np.arange(num_images)
    return EpochPlan(epoch, rows)


def _even_shares(rng: np.random.Generator, total: int, parts: int) -> list[int]:
    """`total` in `parts` integers that differ by at most 1; which ones are larger is drawn."""
    if parts == 0:
        return []
    return rng.permutation([total // parts + (i < total % parts) for i in range(parts)]).tolist()


def _cycled(rng: np.random.Generator, size: int, count: int) -> np.ndarray:
    """`count` of the indices below `size`, in random order, none again before all have come."""
    rounds = [rng.permutation(size) for _ in range(-(-count // size))] if size else []
    return np.concatenate([np.empty(0, np.int64), *rounds])[:count].astype(np.int64)


def crops_per_class(plan: EpochPlan, num_classes: int) -> np.ndarray:
    """How many draws of a plan are centred on each class: int64 (num_classes,)."""
    return np.bincount(plan.class_ids[plan.class_ids != NOTHING], minlength=num_classes)
