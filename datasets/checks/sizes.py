"""Can the headers and labels be read, do images and labels have one size, and how are the files stored?"""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from datasets.base import IDS, Split
from datasets.checks.findings import Finding, many, some
from datasets.checks.inspection import ImageFacts
from datasets.checks.label_ids import UNKNOWN, LabelIds
from datasets.checks.labels import label_name
from datasets.checks.pixels import read_sizes
from datasets.index import SplitIndex

IMAGE_MODES = {
    **dict.fromkeys(("1", "L"), "in grey; made RGB with three equal channels"),
    "P": "with a palette; made RGB",
    **dict.fromkeys(("RGBA", "LA", "PA", "La", "RGBa"), "with transparency, which is dropped"),
    "CMYK": "in CMYK; made RGB",
}
LABEL_MODES = {
    "P": "with a palette; the numbers of the colours are the ids",
    "1": "of 1 bit; black is id 0, white id 1",
    **dict.fromkeys(("LA", "La"), "with transparency; the grey values are the ids"),
    **dict.fromkeys(("RGB", "RGBA"), "with three equal channels, whose values are the ids"),
    **dict.fromkeys(("I;16", "I;16L", "I;16B", "I"), "of more than 8 bits; the values are the ids"),
}


def check_images(split: Split, samples: Sequence[ImageFacts], index: SplitIndex) -> Iterator[Finding]:
    """Images that can't be decoded; `check_readable` names those whose header is damaged."""
    faults = tuple(facts.fault for facts in samples if facts.fault and facts.index not in index.faults)
    if faults:
        what = f"{split.split}: {many(len(faults), 'image')} can't be read ({len(samples)} decoded)"
        yield Finding("error", what, faults, "get damaged files again, from the archive")
    elif samples:
        yield Finding("ok", f"{split.split}: {len(samples)} images decoded")


def check_readable(split: Split, index: SplitIndex) -> Iterator[Finding]:
    """Files whose header, or labels whose content can't be read."""
    read = f"all {len(index)}" if index.read.all() else f"{int(index.read.sum())} of {len(index)}"
    if index.faults:
        what = f"{split.split}: {many(len(index.faults), 'sample')} can't be read ({read} read)"
        by_color = "mend these masks, or the colours in classes.json"
        by_id = "save labels as 8-bit PNG with one channel of ids"
        remedy = f"get damaged files again; {by_color if split.label_code.startswith('colors') else by_id}"
        yield Finding("error", what, tuple(index.faults.values()), remedy)
    elif index.read.any():
        yield Finding("ok", f"{split.split}: {read} labels and headers of images can be read")


def check_pair_sizes(split: Split, index: SplitIndex) -> Iterator[Finding]:
    """Images and labels of different sizes; one that lies on its side isn't to be resized."""
    images, labels = read_sizes(split, index), index.label_sizes
    differ = _differ(images, labels)
    turned = differ & (images[:, ::-1] == labels).all(1)
    for rows, what, remedy in (
        (
            turned,
            "of the size of the image turned by 90 degrees",
            "don't resize: turn the pixels of the images, or the labels, by 90 degrees",
        ),
        (
            differ & ~turned,
            "of another size than the image",
            "take the label of this image, or resize one of them (labels: nearest neighbour)",
        ),
    ):
        faults = tuple(
            f"{label_name(split, i)}: the label is {labels[i, 1]}x{labels[i, 0]} pixels,"
            f" the image {images[i, 1]}x{images[i, 0]}"
            for i in np.flatnonzero(rows).tolist()
        )
        if faults:
            yield Finding("error", f"{split.split}: {many(len(faults), 'label')} {what}", faults, remedy)


def differing(split: Split, index: SplitIndex) -> np.ndarray:
    """bool (N,): image, as it is read, and label are known to have different sizes."""
    return _differ(read_sizes(split, index), index.label_sizes)


def _differ(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return images.all(1) & labels.all(1) & (images != labels).any(1)


def sound_labels(split: Split, index: SplitIndex) -> np.ndarray:
    """bool (N,): the label can be trained on: it has a class, no unknown id, and the image's size."""
    ids = LabelIds(split, index)
    return ids.labels_with(ids.of_classes) & ~ids.labels_with(ids.train_ids == UNKNOWN) & ~differing(split, index)


def image_sizes(split: Split, index: SplitIndex) -> Counter:
    """`<width>x<height>` of images as they are read -> how many."""
    return Counter(f"{width}x{height}" for height, width in read_sizes(split, index).tolist() if height)


def check_sizes(split: Split, index: SplitIndex, val_batch: int = 1) -> Iterator[Finding]:
    """The images' sizes; `val_batch` is how many images of the split are validated in one batch."""
    sizes, name = image_sizes(split, index), split.split
    if not sizes:
        return
    listed = some(size for size, _ in sizes.most_common())
    yield Finding("ok", f"{name}: images of {f'{len(sizes)} sizes: ' if len(sizes) > 1 else ''}{listed} pixels")
    if len(sizes) > 1 and val_batch > 1:
        what = f"--bs_mult_val {val_batch}: {name} has images of {len(sizes)} sizes ({listed}), which fit in no batch"
        yield Finding("error", what, remedy="use --bs_mult_val 1", exit_code=2)


def check_modes(split: Split, index: SplitIndex) -> Iterator[Finding]:
    """What is unusual in how the files are stored, and what becomes of it."""
    sound = [i for i in np.flatnonzero(index.read).tolist() if i not in index.faults]
    for modes, noun, known in (
        (index.image_modes, "image", IMAGE_MODES),
        (index.label_modes, "label", LABEL_MODES if split.label_code == IDS else {}),
    ):
        for text, count in Counter(known[modes[i]] for i in sound if modes[i] in known).items():
            yield Finding("note", f"{split.split}: {many(count, noun)} {text}")
