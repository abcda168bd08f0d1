"""A submission for a benchmark server: a flat zip of label-id PNGs, which is written only if every file is right."""

import zipfile
from pathlib import Path
from typing import BinaryIO

from datasets.base import Split
from datasets.reading import image_size
from engine.evaluation.submission_check import FolderFiles, describe, find_faults, split_doubts
from utils.errors import DataError
from utils.files import file_sha256, make_folder, write_atomically
from utils.logging import get_logger
from utils.threads import parallel_map

ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest there is: equal predictions give equal bytes


def prepare_submission(path: str | Path, folder: Path, split: Split) -> None:
    """Before the first prediction: refuse what would fail after the last one.

    Args:
        path: FILE.zip.
        folder: Where predictions will lie, as `NAME.png`.
        split: What is predicted.

    Raises:
        DataError: Two samples would have one name in the zip, `folder` holds files that are not of the split, or the
            images, whose sizes the predictions will have, aren't of the size that the server asks for.
        EnvironmentFault: `path` can't be written.
    """
    samples: dict[str, str] = {}
    for index, sample in enumerate(split.names):
        name = split.submission_name(index)
        if name in samples:
            raise DataError(f"samples {samples[name]} and {sample} would both be {name} in {path}; rename one")
        samples[name] = sample
    extra = FolderFiles(folder).names() - {f"{sample}.png" for sample in split.names}
    if extra:
        found = describe({f"not of split {split.split}": sorted(extra)})
        raise DataError(f"{folder}: {found}; remove or set another --save_dir")
    _check_sizes(path, split)
    if split.submission_count not in (None, len(split)):
        get_logger().warning(
            f"--submission {path}: the server asks for {split.submission_count} images and split {split.split} has"
            f" {len(split)} here: it will not take this file; complete the split in --data_root"
        )
    make_folder(Path(path).parent, "--submission")


def _check_sizes(path: str | Path, split: Split) -> None:
    """Raises `DataError` where images aren't of the size that the server asks for; reads their headers."""
    if split.submission_size is None:
        return
    files = [split.files(index)[0] for index in range(len(split))]
    odd = [
        f"{file.name} is {size[1]}x{size[0]}"
        for file, size in zip(files, parallel_map(image_size, files), strict=True)
        if size != split.submission_size
    ]
    if odd:
        height, width = split.submission_size
        found = describe({f"of {len(files)} images are not {width}x{height}": odd})
        raise DataError(
            f"--submission {path}: {found}, which the server asks for, and predictions have their images' size; put"
            " the images into --data_root as they are published"
        )


def write_submission(path: str | Path, folder: Path, split: Split, progress: bool = False) -> None:
    """Read every prediction back, check it, and zip them; with a single wrong file there is no zip.

    Args:
        path: FILE.zip; its files are sorted and of a fixed time.
        folder: Holds `NAME.png` for each sample.
        split: What was predicted; see `find_faults`.
        progress: Show a bar.

    Raises:
        DataError: Files are missing, not of the split, unreadable, not 8-bit with one channel, of another size than
            their image, hold an id of no class or only one id, or are all the same; the message has all findings. With
            one or two classes a picture may well hold only one id: that is a warning then.
        EnvironmentFault: `path` can't be written.
    """
    expected = [f"{sample}.png" for sample in split.names]
    wrong, doubtful = split_doubts(find_faults(FolderFiles(folder), expected, split, progress), split)
    for what, files in doubtful.items():
        get_logger().warning(f"{folder}: {describe({what: files})}: look at them before you upload {path}")
    if wrong:
        raise DataError(
            f"{path}: not written, because the predictions in {folder} are no valid submission: {describe(wrong)}"
        )
    names = {split.submission_name(index): name for index, name in enumerate(expected)}
    write_atomically(path, lambda file: _zip(file, folder, names))
    size = Path(path).stat().st_size / 2**20
    get_logger().info(f"{len(names)} predictions checked; {path} ({size:.1f} MiB) is ready, sha256 {file_sha256(path)}")


def _zip(file: BinaryIO, folder: Path, names: dict[str, str]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:  # a PNG is compressed already
        for name in sorted(names):
            entry = zipfile.ZipInfo(name, ZIP_TIME)
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # as on Unix, wherever it is written
            archive.writestr(entry, (folder / names[name]).read_bytes())
