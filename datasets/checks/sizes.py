"""Can the files be read, of which sizes and modes are they, and do crops fit?"""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from datasets.base import Split
from datasets.checks.findings import Finding, how_many, many, some
from datasets.checks.inspection import SampleFacts

# kind of fault -> noun, what is wrong, remedy
FAULTS = {
    "image": ("image", "can't be read", "get damaged files again, from the archive"),
    "label": (
        "label",
        "can't be read as ids",
        "get damaged files again; save labels as 8-bit PNG with one channel of ids, no colours",
    ),
    "size": ("label", "of another size than the image", "resize the label (nearest neighbour), or take the right one"),
}
UNUSUAL_MODES = {
    "L": "grey images; they become RGB with three equal channels",
    "RGBA": "images with transparency; it is dropped",
    "LA": "images with transparency; it is dropped",
    "CMYK": "CMYK images; they are converted",
    **dict.fromkeys(("I;16", "I;16B", "I"), "16-bit images; they are scaled to 8 bits"),
}
MUCH_PADDING = 0.3
SCALES = 33


def check_readable(split: Split, samples: Sequence[SampleFacts]) -> Iterator[Finding]:
    """Files that can't be read, and labels of another size than their image."""
    read, healthy = how_many(split, samples), True
    for kind, (noun, what, remedy) in FAULTS.items():
        faults = [fault for facts in samples for fault in facts.faults if fault.kind == kind]
        if faults:
            healthy = False
            text = f"{split.split}: {many(len(faults), noun)} {what} ({read} read)"
            yield Finding("error", text, tuple(fault.text for fault in faults), remedy)
    if healthy:
        yield Finding("ok", f"{split.split}: {read} read, no file is damaged")


def image_sizes(samples: Sequence[SampleFacts]) -> Counter:
    """`<width>x<height>` -> number of images."""
    return Counter(f"{facts.size[1]}x{facts.size[0]}" for facts in samples if facts.size)


def check_sizes(split: Split, samples: Sequence[SampleFacts], val_batch: int = 1) -> Iterator[Finding]:
    """Sizes and modes; `val_batch` is how many images of the split are validated in one batch."""
    sizes, name = image_sizes(samples), split.split
    if not sizes:
        return
    several = f"{len(sizes)} sizes: " if len(sizes) > 1 else ""
    yield Finding("ok", f"{name}: images of {several}{some(size for size, _ in sizes.most_common())} pixels")
    if len(sizes) > 1 and val_batch > 1:
        what = f"{name}: images of different sizes don't fit in one batch of {val_batch}"
        yield Finding("error", what, remedy="--bs_mult_val 1", exit_code=2)
    for mode, count in Counter(facts.mode for facts in samples).items():
        if mode in UNUSUAL_MODES:
            yield Finding("note", f"{name}: {count} {UNUSUAL_MODES[mode]}")
    palette = sum(facts.label_mode == "P" for facts in samples)
    if palette:
        yield Finding("note", f"{name}: {palette} labels are palette PNGs; the numbers of the colours are the ids")


def check_crop(
    sizes: Sequence[tuple[int, int]], crop: tuple[int, int], scales: tuple[float, float], pre_size: int | None
) -> Finding:
    """How much of a training crop (height, width) is padding, see `padded_share`."""
    share, short = padded_share(sizes, crop, scales, pre_size), _short_side(sizes)
    what = f"--crop_size {crop[0]},{crop[1]}: on average {share:.0%} of a crop is padding, which trains nothing"
    if share <= MUCH_PADDING:
        return Finding("ok", what)
    remedy = f"--crop_size {max(32, short // 32 * 32)} is about the images' short side ({short})"
    return Finding("warning", what, remedy=remedy)


def check_tile(sizes: Sequence[tuple[int, int]], tile: int) -> Finding:
    """Whether the tile of class-uniform sampling is smaller than the images (height, width)."""
    small, short = sum(max(size) <= tile for size in sizes), _short_side(sizes)
    if not small:
        return Finding("ok", f"--class_uniform_tile {tile}: fits into the images")
    what = f"--class_uniform_tile {tile}: {small} of {len(sizes)} images are no larger and become one tile each"
    remedy = f"--class_uniform_tile {max(1, short)} gives finer places to centre crops on" if short < tile else ""
    return Finding("note", what, remedy=remedy)


def padded_share(
    sizes: Sequence[tuple[int, int]], crop: tuple[int, int], scales: tuple[float, float], pre_size: int | None
) -> float:
    """Expected share of a crop's pixels that are padding, over images (height, width) and uniform random scales."""
    shares = []
    for height, width in sizes:
        base = pre_size / min(height, width) if pre_size else 1.0
        for scale in base * np.linspace(*scales, SCALES):
            shares.append(1 - min(1, scale * height / crop[0]) * min(1, scale * width / crop[1]))
    return float(np.mean(shares))


def _short_side(sizes: Sequence[tuple[int, int]]) -> int:
    return int(np.median([min(size) for size in sizes]))
