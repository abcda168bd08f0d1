"""Snapshots: one file of plain tensors and data, written atomically, with a SHA-256 for each tensor.

A snapshot is a dict: `format`, `model` (state dict), `average` (state dict of the averaged weights, or None), `config`
(arch, num_classes, options: what rebuilds the model), `classes` (data set, names, palette, label ids), `sha256`; and
`training` (optimizer, progress) in `last.pth`, `score` in `best.pth`.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from utils.errors import CheckpointError, OptionError
from utils.files import sync_folder, write_atomically
from utils.weights import LoadReport, find_weights, fit_weights, is_snapshot, read_archive, seal, tensor_sha256

FORMAT = 1


def weights_sha256(state: Mapping[str, Tensor]) -> str:
    """SHA-256 (hex) over the sorted names, dtypes, shapes and bytes of parameters and buffers."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(f"{name} {tensor_sha256(state[name])}\n".encode())
    return digest.hexdigest()


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
    if not keep_previous or not path.exists():
        write_atomically(path, lambda file: torch.save(content, file))
        return
    staged = path.with_name(f".{path.name}.new")
    write_atomically(staged, lambda file: torch.save(content, file))
    os.replace(path, previous_path(path))
    os.replace(staged, path)
    sync_folder(path.parent)


def previous_path(path: Path) -> Path:
    """Where `save_snapshot` keeps the file that it replaced."""
    return path.with_name(f"{path.stem}_previous{path.suffix}")


def load_snapshot(path: str | Path) -> dict:
    """Read one of our snapshots and check every tensor's SHA-256.

    Raises:
        CheckpointError: Missing, unreadable, damaged, or not one of our snapshots.
    """
    snapshot = read_archive(path)
    if not is_snapshot(snapshot):
        raise CheckpointError(f"{path}: holds bare weights, nothing to go on from; start from them with --snapshot")
    if snapshot["format"] != FORMAT:
        raise CheckpointError(f"{path}: of format {snapshot['format']}; this version reads format {FORMAT}: update it")
    return snapshot


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
    weights = find_weights(read_archive(path), path)
    return fit_weights(model, _own_keys(model, weights), str(path), partial)


def load_model(
    path: str | Path,
    build_model: Callable[..., nn.Module],
    arch: str | None = None,
    num_classes: int | None = None,
    partial: bool = False,
) -> tuple[nn.Module, dict, LoadReport]:
    """Rebuild a snapshot's model for evaluation: without heads for training, in evaluation mode.

    Args:
        path: A snapshot, or bare weights together with `arch` and `num_classes`.
        build_model: (arch, num_classes, **options) -> model.
        arch: Overrides the snapshot's.
        num_classes: For bare weights.
        partial: See `load_weights`.

    Returns:
        The model, the snapshot's content without its tensors (`config`, `classes`; empty for bare weights), the report.

    Raises:
        OptionError: Bare weights without `arch` and `num_classes`.
        CheckpointError: As `load_weights`.
    """
    content = read_archive(path)
    header = (
        {key: content[key] for key in ("config", "classes", "score") if key in content} if is_snapshot(content) else {}
    )
    config = header.get("config", {})
    if not config and (arch is None or num_classes is None):
        raise OptionError(f"--snapshot {path}: holds bare weights; name --arch and --dataset as well")
    options = config.get("options", {}) if arch is None else {}
    options = {**options, "aux": False} | ({"boundary": False} if "boundary" in options else {})
    model = build_model(arch or config["arch"], config.get("num_classes", num_classes), **options)
    weights = find_weights(content, path)
    report = fit_weights(model, _own_keys(model, weights), str(path), partial)
    return model.eval(), header, report


def _own_keys(model: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename a release's keys to the model's; what the release carries and nothing uses is dropped."""
    if not hasattr(model, "release_key_map"):
        return weights
    key_map, own = model.release_key_map(), model.state_dict()
    if sum(key in own for key in weights) >= sum(key in key_map for key in weights):
        return weights
    unused = model.release_unused
    return {key_map.get(key, key): value for key, value in weights.items() if not key.startswith(unused)}
