"""Snapshots: one file of plain tensors and data, written atomically, with a SHA-256 for each tensor.

A snapshot is a dict: `format`, `model` (state dict), `average` (state dict of the averaged weights, or None), `config`
(arch, num_classes, options: what rebuilds the model; pretrained: where its encoder's weights are from), `classes` (data
set, names, palette, label ids), `sha256`; `training` (optimizer, progress, fingerprint of the data) in `last.pth`,
`score` in `best.pth`, `temperature` (a float) where scripts/calibrate.py wrote it: without it, it is 1.
"""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from engine.checkpoint.archive import read_archive, write_archive
from engine.checkpoint.digests import is_snapshot, seal
from engine.checkpoint.fields import check_fields
from utils.errors import CheckpointError, EnvironmentFault
from utils.files import sync_folder, write_atomically
from utils.nested import named_tensors

FORMAT = 1


def save_snapshot(path: str | Path, snapshot: dict, keep_previous: bool = False) -> None:
    """Write `snapshot` (plain tensors and data) to `path`; the file is complete or absent.

    Args:
        path: Final name.
        snapshot: See the module; `format` and `sha256` are added.
        keep_previous: Keep the file that is replaced as `<stem>_previous<suffix>`.

    Raises:
        EnvironmentFault: Disk full or folder not writable; whatever was there before is still there.
    """
    path = Path(path)
    content = seal({**snapshot, "format": FORMAT})
    _check_space(path.parent, content)
    staged = path.with_name(f".{path.name}.new.tmp")
    write_atomically(staged, lambda file: _write(content, file))
    try:
        if keep_previous and path.exists():
            _replace_by_link(path, previous_path(path))
        os.replace(staged, path)
        sync_folder(path.parent)
    except OSError as error:
        staged.unlink(missing_ok=True)
        raise EnvironmentFault(
            f"{path}: cannot be written ({error.strerror}); free disk space, or move the run's folder to another disk"
        ) from error


def adopt(source: Path, target: Path) -> None:
    """Make `target` another name of a snapshot, or a copy. Raises `EnvironmentFault` if it can't be written."""
    try:
        _replace_by_link(source, target)
    except OSError as error:
        raise EnvironmentFault(f"{target}: cannot be written ({error.strerror}); free disk space") from error


def _write(content: dict, file: BinaryIO) -> None:
    try:
        write_archive(content, file)
    except RuntimeError as error:  # its zip writer hides a full disk behind one
        raise OSError(errno.EIO, str(error).splitlines()[0]) from error


def _check_space(folder: Path, content: dict) -> None:
    """Raises `EnvironmentFault` before anything is written to a disk that is too full for `content`."""
    needed = sum(tensor.numel() * tensor.element_size() for _, tensor in named_tensors(content)) + (1 << 20)
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise EnvironmentFault(
            f"{folder}: a snapshot needs {needed >> 20} MiB and {free >> 20} MiB are free; free disk space, or move"
            " the run's folder and --ckpt to another disk"
        )


def _replace_by_link(source: Path, target: Path) -> None:
    """Make `target` another name of `source`, so that at no moment either is absent."""
    link = target.with_name(f".{target.name}.link.tmp")
    link.unlink(missing_ok=True)
    try:
        try:
            os.link(os.path.realpath(source), link)  # not a link's own name
        except OSError:  # a file system without hard links
            shutil.copyfile(source, link)
        os.replace(link, target)
    finally:
        link.unlink(missing_ok=True)


def previous_path(path: Path) -> Path:
    """Where `save_snapshot` keeps the file that it replaced."""
    return path.with_name(f"{path.stem}_previous{path.suffix}")


def load_snapshot(path: str | Path) -> dict:
    """Read one of our snapshots and check every tensor's SHA-256.

    Raises:
        CheckpointError: Missing, unreadable, damaged, or not one of our snapshots.
    """
    snapshot = read_snapshot_file(path)
    if not is_snapshot(snapshot):
        raise CheckpointError(
            f"{path}: holds bare weights, which nothing can resume from; start from them with --snapshot"
        )
    return snapshot


def read_snapshot_file(path: str | Path) -> Any:
    """`read_archive`, format and fields of a snapshot checked too."""
    content = read_archive(path)
    if is_snapshot(content):
        if type(content["format"]) is not int or content["format"] != FORMAT:
            raise CheckpointError(
                f"{path}: of format {content['format']}; this version reads format {FORMAT}: update it"
            )
        check_fields(content, path)
    return content


def newest_snapshot(folder: str | Path, warn: Callable[[str], None]) -> tuple[Path, dict] | None:
    """The newest complete training snapshot of a run's folder, or None where there is none.

    A damaged one is reported through `warn`, and its predecessor taken.

    Raises:
        CheckpointError: There are snapshots and all are damaged.
    """
    last = Path(folder) / "last.pth"
    candidates = [path for path in (last, previous_path(last)) if path.exists()]
    for path in candidates:
        try:
            return path, load_snapshot(path)
        except CheckpointError as error:
            warn(str(error))
    if candidates:
        raise CheckpointError(f"{folder}: none of its snapshots is readable; start anew with --resume never")
    return None
