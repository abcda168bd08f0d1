"""The images and masks of a user's own data, listed and paired as `classes.json` says."""

from pathlib import Path

from datasets.file_table import FileTable
from datasets.layout import LABEL_SUFFIXES, check_folder, empty_error, list_files
from datasets.own.names import NamePattern, list_named, suggest_patterns
from datasets.own.settings import Settings
from datasets.pairing import REMEDY, OnUnpaired, match_names, pair_files, raise_error
from datasets.reading import IMAGE_SUFFIXES
from utils.errors import DataError

Files = dict[str, str]  # paths by sample name


class OwnFiles:
    """Lists and pairs.

    Args:
        settings: What `classes.json` says.
        on_unpaired: See `pair_files`.

    Attributes:
        notes: What is to be said of what was found.
    """

    def __init__(self, settings: Settings, on_unpaired: OnUnpaired) -> None:
        self.settings, self.on_unpaired = settings, on_unpaired
        self.notes: list[str] = []

    def images(self, folder: Path) -> Files:
        """Images in a folder and below, without masks that lie there too. Raises `DataError` if there are none."""
        settings = self.settings
        check_folder(settings.root, folder, settings.expected)
        found = list_named(folder, IMAGE_SUFFIXES, settings.image_name)
        found = self._without(found, folder, settings.mask_folder, settings.mask_name)
        if not found and not settings.image_name.is_plain:
            raise DataError(
                f'{folder}: no image fits "image_name": "{settings.image_name}" in {settings.file}; mend it'
            )
        if not found:
            raise empty_error(settings.root, folder, settings.expected)
        return found

    def masks(self, folder: Path) -> Files:
        """Masks in a folder and below; none where there is no such folder."""
        settings = self.settings
        if not folder.is_dir():
            return {}
        found = list_named(folder, LABEL_SUFFIXES, settings.mask_name)
        return self._without(found, folder, settings.image_folder, settings.image_name)

    def _without(self, found: Files, folder: Path, other: Path, pattern: NamePattern) -> Files:
        """`found` in `folder` but for those of the other kind, whose folder and pattern these are."""
        if self.settings.image_folder == self.settings.mask_folder:
            return {n: path for n, path in found.items() if pattern.is_plain or pattern.sample(Path(path).stem) is None}
        if folder in other.parents:
            return {name: path for name, path in found.items() if other not in Path(path).parents}
        return found

    def folder(self, images: Path, masks: Path, optional: bool = False) -> FileTable:
        """The samples in a folder of images and one of masks; with `optional` there may be no masks.

        Raises:
            DataError: A folder is missing or empty, or no image has a mask.
        """
        found = self.images(images)
        if not optional:
            check_folder(self.settings.root, masks, self.settings.expected)
        return self.pair(found, self.masks(masks), masks, optional)

    def pair(self, images: Files, masks: Files, folder: Path, optional: bool = False) -> FileTable:
        """Samples of images and of masks, which lie in `folder`. Raises `DataError` as `folder` does."""
        if optional and not masks:
            return FileTable(images, images.values())
        settings, matched = self.settings, match_names(images, masks)
        if not matched:
            self._check_names(images, folder)
        unlabelled = len(images) - len(matched)
        if settings.skip_unlabelled and matched and unlabelled:
            images = {name: images[name] for name in matched}
            self.notes.append(f'images left out that have no mask in {folder}: {unlabelled} ("skip_unlabelled")')
        remedy = f'{REMEDY}, or leave such images out with "skip_unlabelled": true in {settings.file}'
        name, on_unpaired = settings.mask_name, self.on_unpaired if matched else raise_error
        return pair_files(images, masks, folder, on_unpaired, name.tail, name.head, remedy)

    def _check_names(self, images: Files, folder: Path) -> None:
        """Raises `DataError` with an image, a mask and the setting that pairs them, if there are masks at all."""
        settings, taken = self.settings, set(images.values())
        masks = {file: path for file, path in list_files(folder, LABEL_SUFFIXES, True).items() if path not in taken}
        if not masks:
            return
        files = {settings.image_name.file(name): path for name, path in images.items()}
        image, mask, remedy = next(iter(files)), next(iter(masks)), "name masks as the images are"
        if found := suggest_patterns(list(files), list(masks)):
            partners = {found[1].sample(file): file for file in masks}
            image = next(file for file in files if found[0].sample(file) in partners)
            mask = partners[found[0].sample(image)]
            remedy = f"set {_keys(*found)} in {settings.file}"
        raise DataError(f"{folder}: no mask has an image's name, such as {files[image]} and {masks[mask]}; {remedy}")


def _keys(image: NamePattern, mask: NamePattern) -> str:
    """How `classes.json` says which names belong together."""
    return f'"image_name": "{image}", "mask_name": "{mask}"' if not image.is_plain else f'"mask_name": "{mask}"'
