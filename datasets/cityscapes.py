"""Cityscapes: 19 classes, 34 label ids; the flat layout and that of the downloaded archives.

Source: Cordts et al., The Cityscapes Dataset for Semantic Urban Scene Understanding, CVPR 2016.
"""

from pathlib import Path

from datasets.base import IGNORE_LABEL, ClassTable, FileItem, FileSplit
from datasets.layout import (
    check_folder,
    check_split,
    check_unique,
    empty_error,
    list_files,
    list_folders,
    missing_error,
)
from utils.errors import OptionError

SPLITS = ("train", "val", "trainval", "test")
NUM_FOLDS = 3
IMAGE_TAIL, LABEL_TAIL = "_leftImg8bit", "_gtFine_labelIds"
EXPECTED = f"leftImg8bit/<split>/<city>/*{IMAGE_TAIL}.png and gtFine/<split>/<city>/*{LABEL_TAIL}.png"

# name, label id, colour; the train id is the row
_ROWS = (
    ("road", 7, (128, 64, 128)),
    ("sidewalk", 8, (244, 35, 232)),
    ("building", 11, (70, 70, 70)),
    ("wall", 12, (102, 102, 156)),
    ("fence", 13, (190, 153, 153)),
    ("pole", 17, (153, 153, 153)),
    ("traffic light", 19, (250, 170, 30)),
    ("traffic sign", 20, (220, 220, 0)),
    ("vegetation", 21, (107, 142, 35)),
    ("terrain", 22, (152, 251, 152)),
    ("sky", 23, (70, 130, 180)),
    ("person", 24, (220, 20, 60)),
    ("rider", 25, (255, 0, 0)),
    ("car", 26, (0, 0, 142)),
    ("truck", 27, (0, 0, 70)),
    ("bus", 28, (0, 60, 100)),
    ("train", 31, (0, 80, 100)),
    ("motorcycle", 32, (0, 0, 230)),
    ("bicycle", 33, (119, 11, 32)),
)
# ids 0 to 33, and 255: the licence plate's -1 as an 8-bit value
_IGNORED = dict.fromkeys([*range(34), 255], IGNORE_LABEL)

CLASSES = ClassTable(
    names=tuple(name for name, _, _ in _ROWS),
    palette=tuple(color for _, _, color in _ROWS),
    label_ids=tuple(label_id for _, label_id, _ in _ROWS),
    id_to_train=_IGNORED | {label_id: train_id for train_id, (_, label_id, _) in enumerate(_ROWS)},
)


def build_split(root: Path, split: str, cv: int = 0) -> FileSplit:
    """One split of the fine annotations; `test` comes without labels (the published ones are void).

    Args:
        root: Folder with `leftImg8bit` and `gtFine`, or with `leftImg8bit_trainvaltest` and `gtFine_trainvaltest`.
        split: `train`, `val`, `trainval` or `test`.
        cv: 0 is the official split. With c val cities, fold k validates the cities k*c to (k+1)*c of the sorted val
            cities followed by the sorted train cities, and trains on the others.

    Raises:
        OptionError: Unknown split or fold.
        DataError: A folder, an image or a label is missing, or names are not unique.
    """
    root = Path(root)
    check_split("cityscapes", split, SPLITS)
    if cv not in range(NUM_FOLDS):
        raise OptionError(f"--cv {cv}: data set cityscapes has the cross-validation splits 0, 1 and 2")
    images = _below(root, "leftImg8bit")
    cities = _split_cities(root, images, split, cv)
    if split == "test":
        items = [FileItem(name, path, None) for city in cities for name, path in _city_images(city)]
    else:
        items = _labelled_items(cities, _below(root, "gtFine"))
    if not items:
        raise empty_error(root, cities[0].parent, EXPECTED)
    return FileSplit("cityscapes", split, CLASSES, check_unique(items))


def _below(root: Path, name: str) -> Path:
    """`root/name`, or where the downloaded archives put it."""
    check_folder(root, root, EXPECTED)
    nested = root / f"{name}_trainvaltest" / name
    if nested.is_dir() and not (root / name).is_dir():
        return nested
    check_folder(root, root / name, EXPECTED)
    return root / name


def _split_cities(root: Path, images: Path, split: str, cv: int) -> list[Path]:
    """Image folders of the split's cities, each `<images>/<official split>/<city>`."""

    def cities_of(official: str) -> list[Path]:
        check_folder(root, images / official, EXPECTED)
        cities = list_folders(images / official)
        if not cities:
            raise empty_error(root, images / official, EXPECTED)
        return cities

    if split == "test" or (cv == 0 and split != "trainval"):
        return cities_of(split)
    val = cities_of("val")
    cities = val + cities_of("train")
    if split == "trainval":
        return cities
    first = cv * len(cities) // NUM_FOLDS
    fold = {cities[(first + i) % len(cities)] for i in range(len(val))}
    return [city for city in cities if (city in fold) == (split == "val")]


def _city_images(city: Path) -> list[tuple[str, Path]]:
    """Sample names and image files of a city, sorted."""
    files = list_files(city, (".png",))
    return [(stem.removesuffix(IMAGE_TAIL), path) for stem, path in files.items() if stem.endswith(IMAGE_TAIL)]


def _labelled_items(cities: list[Path], labels: Path) -> list[FileItem]:
    items, missing = [], []
    for city in cities:
        folder = labels / city.parent.name / city.name
        present = list_files(folder, (".png",)) if folder.is_dir() else {}
        for name, image in _city_images(city):
            item = FileItem(name, image, folder / f"{name}{LABEL_TAIL}.png")
            items.append(item)
            if item.label.stem not in present:
                missing.append(item)
    if missing:
        raise missing_error(missing[0].label, missing[0].image, len(missing))
    return items
