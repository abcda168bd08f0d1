"""Snapshots: one file of plain tensors and data, written atomically, with a SHA-256 for each tensor.

A snapshot is a dict: `format`, `model` (state dict), `average` (state dict of the averaged weights, or None), `config`
(arch, num_classes, options: what rebuilds the model; pretrained: where its encoder's weights are from), `classes` (data
set, names, palette, label ids), `sha256`; and `training` (optimizer, progress) in `last.pth`, `score` in `best.pth`.
"""

import errno
import itertools
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from engine.snapshot_fields import check_fields
from utils.archive import read_archive, write_archive
from utils.digests import is_snapshot, named_tensors, seal
from utils.errors import CheckpointError, EnvironmentFault, OptionError
from utils.files import sync_folder, write_atomically
from utils.weights import LoadReport, find_weights, fit_weights

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
            os.link(source, link)
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
    snapshot = _read(path)
    if not is_snapshot(snapshot):
        raise CheckpointError(f"{path}: holds bare weights, nothing to go on from; start from them with --snapshot")
    return snapshot


def _read(path: str | Path) -> Any:
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


def tidy_folder(folder: Path, resumed: Path | None) -> None:
    """Before a run writes: sweep what a killed one left, and move aside the snapshots that it won't go on from.

    Args:
        folder: The run's folder.
        resumed: The snapshot that the run goes on from; None for a fresh start, which moves all of them, and their
            report, aside.
    """
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink()
    last = folder / "last.pth"
    stale = [last] if resumed == previous_path(last) else []  # damaged: its successor must not replace the good one
    if resumed is None:
        stale = [last, previous_path(last), folder / "best.pth", folder / "report.html"]
    stale = [path for path in stale if path.exists()]
    if stale:
        number = next(n for n in itertools.count(1) if not (folder / f"replaced_{n}").exists())
        (folder / f"replaced_{number}").mkdir()
        for path in stale:
            os.replace(path, folder / f"replaced_{number}" / path.name)


def load_weights(model: nn.Module, path: str | Path, partial: bool = False) -> LoadReport:
    """Load a file's weights into `model`: our snapshots, safetensors, the releases' `.pth` with their own keys.

    Args:
        model: Gets the weights, in place.
        path: The file; of a snapshot with averaged weights these are taken.
        partial: Load what fits and leave the rest; otherwise anything missing, left over or misshapen is refused.
            Heads for training that the file has and the model doesn't build are reported, never refused.

    Raises:
        CheckpointError: Unreadable, or the weights don't fit the model; then `model` is unchanged.
    """
    content = _read(path)
    weights = find_weights(content, path)
    report = fit_weights(model, _own_keys(model, weights), str(path), partial)
    if is_snapshot(content):
        adopt_encoder(model, content.get("config", {}))
    return report


def adopt_encoder(model: nn.Module, config: dict) -> None:
    """Take over what a snapshot's `config` knows of its encoder's weights, if `model` has the same encoder.

    That is their provenance, and the mean and std of the images that they are used to.
    """
    own, options = getattr(model, "config", {}), config.get("options", {})
    backbone = own.get("options", {}).get("backbone")
    if options.get("backbone") != backbone or (backbone is None and config.get("arch") != own.get("arch")):
        return
    if "pretrained" in config:
        own["pretrained"] = config["pretrained"]
    if backbone is not None:
        model.encoder.mean, model.encoder.std = tuple(options["mean"]), tuple(options["std"])
        own["options"] |= {"mean": options["mean"], "std": options["std"]}


def load_model(
    path: str | Path,
    build_model: Callable[..., nn.Module],
    arch: str | None = None,
    classes: Sequence[str] | None = None,
    partial: bool = False,
) -> tuple[nn.Module, dict, LoadReport]:
    """Rebuild a snapshot's model for evaluation: without heads for training, in evaluation mode.

    Args:
        path: A snapshot, or bare weights together with `arch` and `classes`.
        build_model: (arch, num_classes, **options) -> model.
        arch: Needed for bare weights; of a snapshot it overrides the architecture.
        classes: Class names of the data; needed for bare weights, and a snapshot has to have the same ones.
        partial: See `load_weights`.

    Returns:
        The model, the snapshot's description (`config`, `classes`, `score`; empty for bare weights), the report.

    Raises:
        OptionError: Bare weights without `arch` and `classes`.
        CheckpointError: As `load_weights`, or the snapshot's classes are others.
    """
    content = _read(path)
    known = is_snapshot(content)
    header = {key: content[key] for key in ("config", "classes", "score") if known and key in content}
    if not header and (arch is None or classes is None):
        raise OptionError(f"--snapshot {path}: holds bare weights; name --arch and --dataset as well")
    if header and classes is not None:
        check_classes(header, classes, path)
    weights = find_weights(content, path)
    if header:
        _check_scale(header["config"], weights, build_model, path)
    model = _build_like(header.get("config"), build_model, arch, len(classes or ()))
    report = fit_weights(model, _own_keys(model, weights), str(path), partial)
    adopt_encoder(model, header.get("config", {}))
    return model.eval(), header, report


def _check_scale(
    config: dict, weights: Mapping[str, Tensor], build_model: Callable[..., nn.Module], path: str | Path
) -> None:
    """Raises `CheckpointError` if a file describes no model, or one far larger than its weights, to fill the memory."""
    stored = sum(tensor.numel() for tensor in weights.values())
    try:
        with torch.device("meta"):
            model = _build_like(config, build_model, None, 0)
    except EnvironmentFault:  # a package that the model needs
        raise
    except Exception as error:  # whatever the options in the file lead to
        raise CheckpointError(f"{path}: describes no model that can be built ({error}); take another file") from error
    if sum(tensor.numel() for tensor in model.state_dict().values()) > 2 * stored:
        raise CheckpointError(f"{path}: describes a far larger model than it holds weights of; take another file")


def _build_like(
    config: dict | None, build_model: Callable[..., nn.Module], arch: str | None, num_classes: int
) -> nn.Module:
    """The snapshot's model with its options; with fresh options where `arch` names another one."""
    if config is None:
        return build_model(arch, num_classes, aux=False)
    if arch is not None:
        model = build_model(arch, config["num_classes"], aux=False)
        if model.config["arch"] != config["arch"]:
            return model
    options = {**config["options"], "aux": False}
    options.pop("boundary", None)
    return build_model(config["arch"], config["num_classes"], **options)


def check_classes(snapshot: dict, names: Sequence[str], path: str | Path) -> None:
    """Raises `CheckpointError` if `snapshot` was trained on other classes than `names`."""
    trained = snapshot["classes"]["names"]
    if list(trained) == list(names):
        return
    raise CheckpointError(
        f"{path}: was trained on {len(trained)} classes ({', '.join(trained[:3])}, ...), the data has {len(names)}"
        f" ({', '.join(names[:3])}, ...) or another order; name the data set it was trained on with --dataset"
    )


def _own_keys(model: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename a release's keys to the model's; what the release carries and nothing uses is dropped."""
    if not hasattr(model, "release_key_map"):
        return weights
    key_map, own = model.release_key_map(), model.state_dict()
    if sum(key in own for key in weights) >= sum(key in key_map for key in weights):
        return weights
    unused = model.release_unused
    return {key_map.get(key, key): value for key, value in weights.items() if not key.startswith(unused)}
