"""Cityscapes, fine and coarse: 19 classes, 34 label ids; the flat layout and that of the downloaded archives.

Source: Cordts et al., The Cityscapes Dataset for Semantic Urban Scene Understanding, CVPR 2016.
"""

from pathlib import Path

from datasets.base import ClassTable, FileSplit
from datasets.file_table import FileTable
from datasets.layout import (
    LABEL_SUFFIXES,
    OnUnpaired,
    check_cv,
    check_folder,
    check_split,
    check_unique,
    empty_error,
    list_files,
    list_folders,
    pair_files,
    raise_error,
)
from datasets.reading import IMAGE_SUFFIXES
from utils.constants import IGNORE_LABEL

COARSE_SPLIT = "train_extra"
SPLITS = ("train", "val", "trainval", "test", COARSE_SPLIT)
PUBLISHED_COUNTS = {"train": 2975, "val": 500, "test": 1525, COARSE_SPLIT: 19998}
NUM_FOLDS = 3
IMAGE_TAIL, FINE_TAIL, COARSE_TAIL = "_leftImg8bit", "_gtFine_labelIds", "_gtCoarse_labelIds"
EXPECTED = f"leftImg8bit/<split>/<city>/*{IMAGE_TAIL}.png and gtFine/<split>/<city>/*{FINE_TAIL}.png"
EXPECTED_COARSE = (
    f"leftImg8bit/{COARSE_SPLIT}/<city>/*{IMAGE_TAIL}.png and gtCoarse/{COARSE_SPLIT}/<city>/*{COARSE_TAIL}.png"
)

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


def build_split(root: Path, split: str, cv: int = 0, on_unpaired: OnUnpaired = raise_error) -> FileSplit:
    """One split; `train_extra` has coarse labels, `test` none (the published ones are void), the others fine ones.

    Args:
        root: Folder with `leftImg8bit` and `gtFine` (and `gtCoarse`), or with the folders that the archives are named
            after: `leftImg8bit_trainvaltest`, `gtFine_trainvaltest`, `leftImg8bit_trainextra`.
        split: `train`, `val`, `trainval`, `test` or `train_extra`.
        cv: 0 is the official split. Of the sorted val cities followed by the sorted train cities, n in all, fold k
            validates as many as val has, from place k*n/3 on, and trains on the others. `train_extra` is in no fold.
        on_unpaired: Called with a fault of pairing; by default it is raised.

    Raises:
        OptionError: Unknown split or fold.
        DataError: A folder is missing, an image or a label has no partner, or names are not unique.
    """
    root = Path(root)
    check_split("cityscapes", split, SPLITS)
    check_cv("cityscapes", cv, NUM_FOLDS)
    check_folder(root, root, EXPECTED)
    if split == COARSE_SPLIT:
        images = _below(root, "leftImg8bit", "leftImg8bit_trainextra", COARSE_SPLIT)
        labels = _below(root, "gtCoarse", "gtCoarse", COARSE_SPLIT)
        items = _items(root, _cities(root, images / COARSE_SPLIT), labels, COARSE_TAIL, on_unpaired)
    else:
        images = _below(root, "leftImg8bit", "leftImg8bit_trainvaltest")
        labels = None if split == "test" else _below(root, "gtFine", "gtFine_trainvaltest")
        items = _items(root, _split_cities(root, images, split, cv), labels, FINE_TAIL, on_unpaired)
    built = FileSplit("cityscapes", split, CLASSES, check_unique(items))
    if split == "test":
        built.submission_size, built.submission_count = (1024, 2048), PUBLISHED_COUNTS["test"]
    return built


def _below(root: Path, name: str, archive: str, part: str = "") -> Path:
    """`root/name`, or the folder of that name in the one that the archive was unpacked into; it holds `part`."""
    nested = root / archive / name
    if (nested / part).is_dir() and not (root / name / part).is_dir():
        return nested
    check_folder(root, root / name / part, EXPECTED_COARSE if part else EXPECTED)
    return root / name


def _cities(root: Path, folder: Path) -> list[Path]:
    """Image folders of the cities of an official split, sorted."""
    check_folder(root, folder, EXPECTED)
    cities = list_folders(folder)
    if not cities:
        raise empty_error(root, folder, EXPECTED)
    return cities


def _split_cities(root: Path, images: Path, split: str, cv: int) -> list[Path]:
    """Image folders of the split's cities, each `<images>/<official split>/<city>`."""
    if split == "test" or (cv == 0 and split != "trainval"):
        return _cities(root, images / split)
    val = _cities(root, images / "val")
    cities = val + _cities(root, images / "train")
    if split == "trainval":
        return cities
    first = cv * len(cities) // NUM_FOLDS
    fold = {cities[(first + i) % len(cities)] for i in range(len(val))}
    return [city for city in cities if (city in fold) == (split == "val")]


def _items(root: Path, cities: list[Path], labels: Path | None, label_tail: str, on_unpaired: OnUnpaired) -> FileTable:
    """The cities' samples; `labels` has folders like those of the images, or is None where there are no labels."""
    images = _city_files(cities, IMAGE_TAIL, IMAGE_SUFFIXES)
    if not images:
        raise empty_error(root, cities[0].parent, EXPECTED)
    if labels is None:
        items = FileTable(images, images.values())
    else:
        folders = [labels / city.parent.name / city.name for city in cities]
        label_files = _city_files([folder for folder in folders if folder.is_dir()], label_tail, LABEL_SUFFIXES)
        items = pair_files(images, label_files, labels, on_unpaired, label_tail)
    return FileTable([name.rpartition("/")[2] for name in items.names], *(items.paths(kind) for kind in range(2)))


def _city_files(cities: list[Path], tail: str, suffixes: tuple[str, ...]) -> dict[str, str]:
    """Files of the cities that end with `tail`, as `<official split>/<city>/<name>`, city by city."""
    found = {}
    for city in cities:
        files = list_files(city, suffixes, tail=tail)
        found |= {f"{city.parent.name}/{city.name}/{name}": path for name, path in files.items()}
    return found
