"""Labelled photos -> image files, and the names and splits they get in the new data set."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from datasets.decoding import UPRIGHT, Header, header_of, open_picture, unreadable
from datasets.layout import list_files
from datasets.reading import IMAGE_SUFFIXES
from scripts.label_formats.labelled import Photo, path_parts, split_of
from utils.errors import DataError, OptionError


@dataclass
class Pair:
    """A photo with its image.

    Attributes:
        photo: What the labels say.
        image: The file; None where the labels hold it.
        name: Path in `images/` and `masks/`, without suffix and split.
        split: `train`, `val`, `test` or None.
        size: (height, width) of the mask.
        turn: The image is written upright, as its labels were drawn; else it is kept as it is.
        suffix: Of the image that is written.
    """

    photo: Photo
    image: Path | None
    name: str
    split: str | None
    size: tuple[int, int]
    turn: bool
    suffix: str


class Images:
    """The images below a folder, by their path without suffix and by their name."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = {name: Path(path) for name, path in list_files(root, nested=True).items()}
        self.by_name: dict[str, list[str]] = {}
        for path in self.files:
            self.by_name.setdefault(path.rpartition("/")[2], []).append(path)
        tops = sorted({path.split("/")[0] for path in self.files if "/" in path})
        self.splits = [(folder, split) for folder in tops if (split := split_of(folder))]

    def find(self, photo: Photo) -> Path | None:
        """The photo's image; None where only the labels hold it. Raises `DataError`."""
        parts = path_parts(photo.file)
        parts[-1:] = [PurePosixPath(parts[-1]).stem] if parts else []
        places = list(self._places(photo))
        for first in range(len(parts)):  # exporters put folders of their own before the names
            for place in places:
                if found := self.files.get("/".join([*place, *parts[first:]])):
                    return found
        alike = self.by_name.get(parts[-1], []) if parts else []
        deeper = [self.files[path] for path in alike if path.endswith("/" + "/".join(parts))]
        if len(deeper) == 1:
            return deeper[0]
        if deeper:
            raise DataError(
                f"{photo.where}: {photo.file} may be {deeper[0]} or {deeper[1]}; set --images to a folder further down"
            )
        if photo.embedded is None or not parts:
            kinds = ", ".join(IMAGE_SUFFIXES)
            raise DataError(
                f"{photo.where}: no image {photo.file} in --images {self.root} ({kinds}); add it or remove its label"
            )
        return None

    def _places(self, photo: Photo) -> Iterator[list[str]]:
        """Folders in which a photo is looked for: that of its labels, those above, those of its split."""
        near = path_parts(photo.near)
        yield from (near[first:] for first in range(len(near) + 1))
        for folder, split in self.splits:
            if split == photo.split:
                yield from ([folder], [folder, "images"])


def pair_photos(photos: list[Photo], root: Path) -> tuple[list[Pair], int]:
    """All photos with their images below `root`, and the number of images there that no label names.

    Raises:
        OptionError: `root` is no folder.
        DataError: An image is missing or ambiguous, two have one name, a size differs from that of the labels.
    """
    if not root.is_dir():
        raise OptionError(f"--images {root}: no such folder; name the one that holds the labelled images")
    images = Images(root)
    pairs = [_pair(photo, images.find(photo), root) for photo in photos]
    _check_unique(pairs)
    used = {pair.image for pair in pairs}
    return _settle_splits(pairs), sum(path not in used for path in images.files.values())


def _pair(photo: Photo, image: Path | None, root: Path) -> Pair:
    header, suffix = _look(photo, image)
    stored, upright = header.size, header.upright_size
    size = photo.size or upright
    if size not in (stored, upright):
        raise DataError(
            f"{photo.where}: {photo.file} was labelled at {size[1]}x{size[0]}, the image ({image or 'in the file'}) is"
            f" {upright[1]}x{upright[0]}; give the images that were labelled"
        )
    turn = image is not None and header.orientation != UPRIGHT and size == upright  # bytes in labels stay as they are
    relative = image.relative_to(root) if image else Path(*path_parts(photo.near), path_parts(photo.file)[-1])
    folders, split = list(relative.parts[:-1]), photo.split
    while folders and (folders[0] == "images" or (split_of(folders[0]) and split in (None, split_of(folders[0])))):
        split = split_of(folders.pop(0)) or split
    name = "/".join([*folders, relative.stem])
    return Pair(photo, image, name, split, size, turn, ".png" if turn else suffix)


def _look(photo: Photo, image: Path | None) -> tuple[Header, str]:
    """The header of a photo's image, and a suffix."""
    where = image or f"{photo.where}: imageData"
    try:
        with (
            open(image, "rb") if image else io.BytesIO(photo.embedded()) as file,
            open_picture(file, where) as picture,
        ):
            known = {"JPEG": ".jpg", "MPO": ".jpg"}
            suffix = image.suffix if image else known.get(picture.format, f".{picture.format.lower()}")
            if suffix.lower() not in IMAGE_SUFFIXES:
                raise DataError(f"{where}: {picture.format}, which no data set reads; put the photo beside it as a PNG")
            return header_of(picture), suffix
    except OSError as error:
        raise unreadable(where, error) from error


def _check_unique(pairs: list[Pair]) -> None:
    """Raises `DataError` where two photos are one image or would get one name."""
    seen: dict[object, Pair] = {}
    for pair in pairs:
        other = seen.setdefault((pair.split, pair.name), pair)
        if pair.image is not None and other is pair:
            other = seen.setdefault(pair.image, pair)
        if other is not pair:
            both = f"{other.photo.file} ({other.photo.where}) and {pair.photo.file} ({pair.photo.where})"
            raise DataError(f"{both} are both image {pair.name!r}; remove or rename one")


def _settle_splits(pairs: list[Pair]) -> list[Pair]:
    """Raises `DataError` where only some have a split; `train` without `val` becomes what train.py divides itself."""
    splits = {pair.split for pair in pairs}
    if None in splits and splits & {"train", "val"}:
        lost = next(pair for pair in pairs if pair.split is None)
        others = ", ".join(sorted(split for split in splits if split))
        raise DataError(
            f"{lost.photo.where}: {lost.photo.file} is in no split, but others are in {others}; move it into one"
        )
    if "val" not in splits:
        for pair in pairs:
            pair.split = None if pair.split == "train" else pair.split
    return pairs
