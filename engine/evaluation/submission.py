"""A submission for a benchmark server: a flat zip of label-id PNGs, which is written only if every file is right."""

import io
import zipfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from utils.errors import DataError
from utils.files import file_sha256, make_folder, write_atomically
from utils.logging import Progress, get_logger

CONSTANT, EQUAL = "constant", "all the same"  # findings
FEW_CLASSES = 2  # up to which a picture of one class is nothing unusual
SHOWN = 3  # files that are named for each finding
EIGHT_BIT_GRAY = b"\x08\x00"  # bit depth and colour type in a PNG's header
ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest there is: equal predictions give equal bytes


def prepare_submission(path: str | Path, folder: Path, split) -> None:
    """Before the first prediction: refuse what would fail after the last one.

    Args:
        path: FILE.zip.
        folder: Where predictions will lie, as `NAME.png`.
        split: Has `split`, `names`, and `submission_name(index)`, a file's name in the zip.

    Raises:
        DataError: Two samples would have one name in the zip, or `folder` holds files that are not of the split.
        EnvironmentFault: `path` can't be written.
    """
    samples: dict[str, str] = {}
    for index, sample in enumerate(split.names):
        name = split.submission_name(index)
        if name in samples:
            raise DataError(f"samples {samples[name]} and {sample} would both be {name} in {path}; rename one")
        samples[name] = sample
    if extra := _extra_files(folder, split):
        raise DataError(f"{folder}: {_count(extra, f'not of split {split.split}')}; remove or set another --save_dir")
    make_folder(Path(path).parent, "--submission")


def write_submission(path: str | Path, folder: Path, split, progress: bool = False) -> None:
    """Read every prediction back, check it, and zip them; with a single wrong file there is no zip.

    Args:
        path: FILE.zip; its files are sorted and of a fixed time.
        folder: Holds `NAME.png` for each sample.
        split: Has `split`, `names`, `submission_name(index)`, `submission_size`, `submission_count`,
            `load_image(index)`, and `classes.label_ids`, the ids allowed.
        progress: Show a bar.

    Raises:
        DataError: Files are missing, not of the split, unreadable, not 8-bit with one channel, of another size than
            their image, hold an id of no class or only one id, or are all the same; the message has all findings. With
            one or two classes a picture may well hold only one id: that is a warning then.
        EnvironmentFault: `path` can't be written.
    """
    findings = _findings(folder, split, progress)
    if len(split.classes.label_ids) <= FEW_CLASSES:
        for what in [what for what in (CONSTANT, EQUAL) if what in findings]:
            get_logger().warning(f"{folder}: {_count(findings.pop(what), what)}: look at them before you upload {path}")
    if findings:
        found = "; ".join(_count(files, what) for what, files in findings.items())
        raise DataError(f"{path}: not written, because the predictions in {folder} are no valid submission: {found}")
    if split.submission_count not in (None, len(split.names)):
        get_logger().warning(
            f"the server asks for {split.submission_count} images and split {split.split} has {len(split.names)} here:"
            " it will not take this file"
        )
    names = {split.submission_name(index): f"{sample}.png" for index, sample in enumerate(split.names)}
    write_atomically(path, lambda file: _zip(file, folder, names))
    size = Path(path).stat().st_size / 2**20
    get_logger().info(f"{len(names)} predictions checked; {path} ({size:.1f} MiB) is ready, sha256 {file_sha256(path)}")


def _findings(folder: Path, split, progress: bool) -> dict[str, list[str]]:
    """What is wrong -> the files, with the figures to it."""
    findings, digests = defaultdict(list), []
    for index, sample in enumerate(Progress(split.names, "check", progress)):
        file = folder / f"{sample}.png"
        size = split.submission_size or split.load_image(index).shape[:2]
        if fault := _fault(file, size, split.classes.label_ids):
            findings[fault[0]].append(f"{sample}.png{fault[1]}")
        if file.is_file():
            digests.append(file_sha256(file))
    if extra := _extra_files(folder, split):
        findings[f"not of split {split.split}"] = extra
    if len(digests) > 1 and len(set(digests)) == 1:
        findings[EQUAL] = [f"{sample}.png" for sample in split.names]
    return findings


def _fault(file: Path, size: tuple[int, int], label_ids: Sequence[int]) -> tuple[str, str] | None:
    """What is wrong with a prediction and the figures to it, or None; `size`: (H,W) that it has to have."""
    if not file.is_file():
        return "missing", ""
    data = file.read_bytes()
    try:
        labels = np.asarray(Image.open(io.BytesIO(data), formats=["PNG"]))
    except Exception:  # Pillow raises many kinds for damaged files
        return "not readable as PNG", ""
    if data[24:26] != EIGHT_BIT_GRAY:
        return "not 8-bit with one channel", ""
    if labels.shape != tuple(size):
        return "not of the size that is asked for", f" is {labels.shape[1]}x{labels.shape[0]} for {size[1]}x{size[0]}"
    ids = np.flatnonzero(np.bincount(labels.ravel())).tolist()
    if wrong := sorted(set(ids) - set(label_ids)):
        return "with an id that is no class's label id (train ids?)", f" holds {', '.join(map(str, wrong[:SHOWN]))}"
    if len(ids) == 1 < len(label_ids):
        return CONSTANT, f" holds only {ids[0]}"
    return None


def _extra_files(folder: Path, split) -> list[str]:
    """Files below `folder` that are no sample's; hidden ones don't count, such as an interrupted writer leaves."""
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return sorted(name for name in files - {f"{sample}.png" for sample in split.names} if "/." not in f"/{name}")


def _count(files: Sequence[str], what: str) -> str:
    """'5 missing (a.png, b.png, c.png, ...)'."""
    return f"{len(files)} {what} ({', '.join(files[:SHOWN])}{', ...' if len(files) > SHOWN else ''})"


def _zip(file: BinaryIO, folder: Path, names: dict[str, str]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:  # a PNG is compressed already
        for name in sorted(names):
            entry = zipfile.ZipInfo(name, ZIP_TIME)
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # as on Unix, wherever it is written
            archive.writestr(entry, (folder / names[name]).read_bytes())
