"""What a benchmark server would refuse in the files of a submission, whether they lie in a folder or in a zip."""

import hashlib
import io
import zipfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from datasets.base import Split
from utils.errors import DataError
from utils.logging import Progress

CONSTANT, EQUAL = "constant", "all the same"  # findings
FEW_CLASSES = 2  # up to which a picture of one class is nothing unusual
SHOWN = 3  # files that are named for each finding
EIGHT_BIT_GRAY = b"\x08\x00"  # bit depth and colour type in a PNG's header


class Files(Protocol):
    """Files by name, `/` between folders."""

    def names(self) -> set[str]:
        """Of all files; hidden ones, such as an interrupted writer leaves, don't count."""

    def read(self, name: str) -> bytes:
        """The content of a file that is there."""


class FolderFiles:
    """The files below a folder, which may be missing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> set[str]:
        """As in `Files`."""
        return _visible(path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file())

    def read(self, name: str) -> bytes:
        """As in `Files`."""
        return (self.folder / name).read_bytes()


class ZipFiles:
    """The files in a zip. Raises `DataError` if it can't be read."""

    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except Exception as error:  # zipfile raises many kinds for damaged files
            raise DataError(f"{path}: not a readable zip ({error}); write it again") from error

    def names(self) -> set[str]:
        """As in `Files`."""
        return _visible(entry.filename for entry in self._zip.infolist() if not entry.is_dir())

    def read(self, name: str) -> bytes:
        """As in `Files`; empty where the entry is damaged."""
        try:
            return self._zip.read(name)
        except Exception:  # each kind of compression has errors of its own
            return b""


def _visible(names) -> set[str]:
    return {name for name in names if "/." not in f"/{name}"}


def find_faults(files: Files, expected: Sequence[str], split: Split, progress: bool = False) -> dict[str, list[str]]:
    """What is wrong -> the files, with the figures to it.

    Args:
        files: The predictions.
        expected: The name of each sample's file, in the order of the split.
        split: Has `split`, `submission_size`, `load_image(index)` and `classes.label_ids`, the ids allowed.
        progress: Show a bar.
    """
    faults, digests, there = defaultdict(list), set(), files.names()
    for index, name in enumerate(Progress(expected, "check", progress)):
        if name not in there:
            faults["missing"].append(name)
            continue
        data = files.read(name)
        digests.add(hashlib.sha256(data).digest())
        if fault := _fault(data, split.submission_size or split.load_image(index).shape[:2], split.classes.label_ids):
            faults[fault[0]].append(f"{name}{fault[1]}")
    if extra := sorted(there - set(expected)):
        faults[f"not of split {split.split}"] = extra
    if len(expected) - len(faults["missing"]) > 1 == len(digests):
        faults[EQUAL] = [name for name in expected if name in there]
    return {what: names for what, names in faults.items() if names}


def _fault(data: bytes, size: tuple[int, int], label_ids: Sequence[int]) -> tuple[str, str] | None:
    """What is wrong with a prediction's file and the figures to it, or None; `size`: (H,W) that it has to have."""
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            height, width = picture.height, picture.width
            fits = (height, width) == tuple(size)  # looked at before anything is decoded
            labels = np.asarray(picture) if fits else None
    except Exception:  # Pillow raises many kinds for damaged files
        return "not readable as PNG", ""
    if data[24:26] != EIGHT_BIT_GRAY:
        return "not 8-bit with one channel", ""
    if not fits:
        return "not of the size that is asked for", f" is {width}x{height} for {size[1]}x{size[0]}"
    ids = np.flatnonzero(np.bincount(labels.ravel())).tolist()
    if wrong := sorted(set(ids) - set(label_ids)):
        return "with an id that is no class's label id (train ids?)", f" holds {', '.join(map(str, wrong[:SHOWN]))}"
    if len(ids) == 1 < len(label_ids):
        return CONSTANT, f" holds only {ids[0]}"
    return None


def split_doubts(faults: Mapping[str, list[str]], split: Split) -> tuple[dict, dict]:
    """What is surely wrong, and what may be right: with one or two classes a picture may well hold only one id."""
    doubtful = (CONSTANT, EQUAL) if len(split.classes.label_ids) <= FEW_CLASSES else ()
    wrong = {what: names for what, names in faults.items() if what not in doubtful}
    return wrong, {what: names for what, names in faults.items() if what in doubtful}


def describe(faults: Mapping[str, Sequence[str]]) -> str:
    """'5 missing (a.png, b.png, c.png, ...); 1 constant (d.png holds only 7)'."""
    return "; ".join(
        f"{len(names)} {what} ({', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''})"
        for what, names in faults.items()
    )


def check_submission(path: Path, split: Split, progress: bool = False) -> tuple[dict, dict]:
    """Faults and doubts, as `split_doubts` gives them, of a zip, or of a folder: eval.py's `pred/`, or an unzipped zip.

    Args:
        path: The zip or the folder.
        split: What was predicted.
        progress: Show a bar.

    Raises:
        DataError: It is neither, or the zip can't be read.
    """
    in_zip = [split.submission_name(index) for index in range(len(split))]
    in_folder = [f"{name}.png" for name in split.names]
    if path.is_dir():
        files: Files = FolderFiles(path)
        there = files.names()
        expected = in_zip if len(there & set(in_zip)) > len(there & set(in_folder)) else in_folder
    elif path.is_file():
        files, expected = ZipFiles(path), in_zip
    else:
        raise DataError(f"{path}: no such file or folder; name a submission's zip, or a folder of its PNGs")
    faults = find_faults(files, expected, split, progress)
    wanted = split.submission_count
    if wanted not in (None, len(expected)):
        faults[f"images in split {split.split} here, where the server asks for {wanted}"] = in_zip
    return split_doubts(faults, split)
