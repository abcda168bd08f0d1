"""Class-uniform sampling: where each class is in the images, and an epoch's plan of crops drawn from that.

Source: Zhu et al., Improving Semantic Segmentation via Video Propagation and Label Relaxation, CVPR 2019, section 4.1
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from datasets.base import Split
from datasets.sampling.centroid_cache import VERSION, content_digest, read_cache, write_cache
from utils.constants import IGNORE_LABEL
from utils.logging import Progress, get_logger
from utils.threads import parallel_map

# by train id: int64 (K,3) rows of image, x, y
Centroids = list[np.ndarray]


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
                moments = cv2.moments(cv2.compare(window, class_id, cv2.CMP_EQ), binaryImage=True)
                x, y = moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]
                found.append((class_id, left + int(x), top + int(y)))
    return found


def extract_centroids(split: Split, tile: int, progress: bool = False) -> Centroids:
    """Centroids of a whole split, read from all its label maps.

    A tile larger than an image is no fault: the whole image is one tile then, and the log says how often.
    """
    rows: list[list[tuple[int, int, int]]] = [[] for _ in range(split.classes.num_classes)]
    small = 0

    def look(index: int) -> tuple[list[tuple[int, int, int]], bool]:
        label = split.load_label(index)
        return tile_centroids(label, tile), max(label.shape) <= tile

    results = Progress(parallel_map(look, range(len(split))), "class centroids", progress, total=len(split))
    for image, (found, fits) in enumerate(results):
        small += fits
        for class_id, x, y in found:
            rows[class_id].append((image, x, y))
    if small:
        get_logger().info(
            f"{small} of {len(split)} images are no larger than --class_uniform_tile {tile}: one tile each"
        )
    return [np.array(row, np.int64).reshape(-1, 3) for row in rows]


def load_centroids(split: Split, tile: int, cache_path: Path | None = None, progress: bool = False) -> Centroids:
    """Centroids of a split, from the cache file if it fits the labels' content, else extracted (and cached).

    Args:
        split: A labelled split.
        tile: Side of a tile in pixels.
        cache_path: JSON file that is read, and written atomically where it is missing, stale or damaged.
        progress: Show a bar while extracting.

    Raises:
        DataError: A label map is missing or wrong.
    """
    if cache_path is None:
        return extract_centroids(split, tile, progress)
    key = {"version": VERSION, "content": content_digest(split), "tile": tile}
    centroids = read_cache(Path(cache_path), key, len(split), split.classes.num_classes)
    if centroids is None:
        get_logger().info(f"looking for the classes in {len(split)} label maps, once: {cache_path}")
        centroids = extract_centroids(split, tile, progress)
        write_cache(Path(cache_path), key, centroids)
    return centroids


def sample_epoch(
    num_images: int, centroids: Centroids | None, class_uniform_pct: float, seed: int, epoch: int
) -> list[CropSample]:
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
    picks: list[tuple[int, tuple[int, int] | None, int | None]] = []
    for class_id, count in zip(present, _even_shares(rng, num_uniform, len(present)), strict=True):
        for image, x, y in centroids[class_id][_cycled(rng, len(centroids[class_id]), count)].tolist():
            picks.append((image, (x, y), class_id))
    picks += [(image, None, None) for image in _cycled(rng, num_images, num_images - num_uniform).tolist()]
    order = rng.permutation(len(picks)).tolist()
    return [CropSample(*picks[pick], epoch=epoch, index=index) for index, pick in enumerate(order)]


def _even_shares(rng: np.random.Generator, total: int, parts: int) -> list[int]:
    """`total` in `parts` integers that differ by at most 1; which ones are larger is drawn."""
    if parts == 0:
        return []
    return rng.permutation([total // parts + (i < total % parts) for i in range(parts)]).tolist()


def _cycled(rng: np.random.Generator, size: int, count: int) -> np.ndarray:
    """`count` of the indices below `size`, in random order, none again before all have come."""
    rounds = [rng.permutation(size) for _ in range(-(-count // size))] if size else []
    return np.concatenate([np.empty(0, np.int64), *rounds])[:count].astype(np.int64)


def crops_per_class(plan: Sequence[CropSample], num_classes: int) -> np.ndarray:
    """How many draws of a plan are centred on each class: int64 (num_classes,)."""
    return np.bincount([draw.class_id for draw in plan if draw.class_id is not None], minlength=num_classes)
