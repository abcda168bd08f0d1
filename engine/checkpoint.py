"""Snapshots: one file of plain tensors and data, written atomically, with a SHA-256 for each tensor.

A snapshot is a dict: `format`, `model` (state dict), `average` (state dict of the averaged weights, or None), `config`
(arch, num_classes, options: what rebuilds the model), `classes` (names, palette, label ids, data set), `training`
(optimizer, progress, options; absent from `best.pth`) and `sha256`.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from utils.errors import CheckpointError
from utils.files import sync_folder, write_atomically

FORMAT = 1


def tensor_sha256(tensor: Tensor) -> str:
    """SHA-256 (hex) over dtype, shape and bytes of one tensor."""
    digest = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    digest.update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    return digest.hexdigest()


def weights_sha256(state: Mapping[str, Tensor]) -> str:
    """SHA-256 (hex) over the sorted names, dtypes, shapes and bytes of parameters and buffers."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(f"{name} {tensor_sha256(state[name])}\n".encode())
    return digest.hexdigest()


def _tensors(value: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _tensors(item, f"{path}/{key}")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _tensors(item, f"{path}/{index}")


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
    content = {**snapshot, "format": FORMAT}
    content["sha256"] = {name: tensor_sha256(tensor) for name, tensor in _tensors(snapshot)}
    staged = path.with_name(f".{path.name}.new")
    write_atomically(staged, lambda file: torch.save(content, file))
    if keep_previous and path.exists():
        os.replace(path, previous_path(path))
    os.replace(staged, path)
    sync_folder(path.parent)


def previous_path(path: Path) -> Path:
    """Where `save_snapshot` keeps the file that it replaced."""
    return path.with_name(f"{path.stem}_previous{path.suffix}")


def read_archive(path: str | Path) -> Any:
    """Tensors and plain data of a torch file, on the CPU; nothing in the file is executed.

    Raises:
        CheckpointError: The file is missing, a folder, unreadable, damaged, or holds more than plain data.
    """
    path = Path(path)
    if not path.exists():
        raise CheckpointError(f"{path}: no such snapshot; check --snapshot")
    if path.is_dir():
        raise CheckpointError(f"{path}: is a folder, not a snapshot; name a file in it with --snapshot")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds for damaged files, none of which is our mistake
        if "weights_only" in str(error) or "Weights only" in str(error):
            reason = "it is damaged, or holds more than tensors and plain data, which is never executed"
        else:
            reason = "it is damaged or not a snapshot"
        raise CheckpointError(f"{path}: cannot be loaded: {reason}; take another file") from error


def load_snapshot(path: str | Path) -> dict:
    """Read one of our snapshots and check every tensor's SHA-256.

    Raises:
        CheckpointError: As `read_archive`, or not one of our snapshots, or a tensor that changed since it was saved.
    """
    snapshot = read_archive(path)
    if not isinstance(snapshot, dict) or "format" not in snapshot or "sha256" not in snapshot:
        raise CheckpointError(f"{path}: bare weights, not one of our snapshots; name --arch and --dataset as well")
    if snapshot["format"] != FORMAT:
        raise CheckpointError(f"{path}: written in format {snapshot['format']}, this version reads format {FORMAT}")
    _check_tensors(path, snapshot)
    return snapshot


def _check_tensors(path: str | Path, snapshot: dict) -> None:
    expected = snapshot["sha256"]
    found = dict(_tensors({key: value for key, value in snapshot.items() if key not in ("format", "sha256")}))
    if set(found) != set(expected):
        raise CheckpointError(f"{path}: damaged: its list of tensors doesn't fit its content; take another snapshot")
    for name, tensor in found.items():
        if tensor_sha256(tensor) != expected[name]:
            raise CheckpointError(f"{path}: damaged: tensor {name} fails its SHA-256; take another snapshot")


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
        raise CheckpointError(f"{folder}: no snapshot in it is readable; start anew with --resume never")
    return None


@dataclass
class LoadReport:
    """What `load_weights` did: names of tensors by outcome."""

    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)  # the model's, not in the file
    unexpected: list[str] = field(default_factory=list)  # the file's, not in the model
    mismatched: list[str] = field(default_factory=list)  # of another shape
    source: str = ""

    @property
    def complete(self) -> bool:
        """True if every tensor of the model was loaded and every tensor of the file was used."""
        return not (self.missing or self.unexpected or self.mismatched)

    def __str__(self) -> str:
        text = f"{self.source}: {len(self.loaded)} of {len(self.loaded) + len(self.missing) + len(self.mismatched)}"
        text += " tensors loaded"
        for kind in ("missing", "mismatched", "unexpected"):
            names = getattr(self, kind)
            if names:
                text += f"; {len(names)} {kind} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        return text


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Weights of any file we know: our snapshots (averaged weights first), safetensors, a release's `.pth`.

    Raises:
        CheckpointError: Unreadable, damaged, or without weights.
    """
    if str(path).endswith(".safetensors"):
        if not Path(path).is_file():
            raise CheckpointError(f"{path}: no such file; check --snapshot")
        try:
            return load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise CheckpointError(f"{path}: not a readable safetensors file ({error})") from error
    content = read_archive(path)
    if isinstance(content, dict) and "sha256" in content and "format" in content:
        _check_tensors(path, content)
        content = content.get("average") or content["model"]
    elif isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointError(f"{path}: holds no state dict; expected tensors by name")
    return {key.removeprefix("module."): value for key, value in content.items()}


def load_weights(model: nn.Module, path: str | Path, partial: bool = False) -> LoadReport:
    """Load a file's weights into `model`: our snapshots, safetensors, the releases' `.pth` with their own keys.

    Args:
        model: Gets the weights, in place.
        path: See `read_weights`.
        partial: Load what fits and leave the rest; otherwise anything missing, left over or misshapen is refused. A
            release's heads that the model doesn't build (auxiliary heads) are never counted as left over.

    Raises:
        CheckpointError: As `read_weights`, or the weights don't fit the model; then `model` is unchanged.
    """
    weights = read_weights(path)
    weights = _translate(model, weights)
    own = model.state_dict()
    report = LoadReport(source=str(path))
    fitting = {}
    for name, tensor in own.items():
        if name not in weights:
            report.missing.append(name)
        elif weights[name].shape != tensor.shape:
            report.mismatched.append(name)
        else:
            fitting[name] = weights[name]
            report.loaded.append(name)
    report.unexpected = [name for name in weights if name not in own and not name.startswith("aux_heads.")]
    if not partial and not report.complete:
        raise CheckpointError(f"{report}; it was saved from another architecture: name the right --arch and classes")
    if not fitting:
        raise CheckpointError(f"{report}; nothing in it fits this model")
    model.load_state_dict({**own, **fitting})
    return report


def _translate(model: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename a release's keys to the model's; heads and counters that the release keeps and we don't are dropped."""
    if not hasattr(model, "release_key_map"):
        return weights
    key_map = model.release_key_map()
    own = model.state_dict()
    if sum(key in own for key in weights) >= sum(key in key_map for key in weights):
        return weights
    unused = getattr(model, "release_unused", ("dsn.",))
    return {
        key_map.get(key, key): tensor for key, tensor in weights.items() if key in key_map or not key.startswith(unused)
    }
