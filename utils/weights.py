"""Weight files -> tensors by name -> a module, with a report of what fitted. Nothing in a file is executed."""

import hashlib
import json
import os
import struct
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from utils.errors import CheckpointError

# a release's file may hold its score as a NumPy float beside the weights; these build nothing but numbers
NUMPY_SCALARS = [np._core.multiarray.scalar, (np._core.multiarray.scalar, "numpy.core.multiarray.scalar"), np.dtype]
NUMPY_SCALARS += [type(np.dtype(kind)) for kind in (np.float32, np.float64, np.int64)]
MAX_ITEMS = 1_000_000  # of nested containers in a file; a snapshot of the largest model has some thousands
COMMENT = b"sha256:"  # of our archives: what precedes the digest of all bytes before the comment
METADATA_KEY = "fenet"  # in a safetensors file's metadata: a snapshot without its tensors, as JSON
TRAINING_HEADS = ("aux_heads.", "boundary_head.", "dsn.")  # ours and the releases'; evaluation has no use for them


def tensor_sha256(tensor: Tensor) -> str:
    """SHA-256 (hex) over dtype, shape and bytes of one tensor, whatever its memory layout."""
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


def named_leaves(content: Any) -> Iterator[tuple[str, Any]]:
    """Every tensor and plain value in nested dicts and lists, with its place.

    Raises:
        ValueError: There are more than `MAX_ITEMS`; containers that hold each other many times multiply.
    """
    waiting, seen = [("", content)], 0
    while waiting:
        path, value = waiting.pop()
        seen += 1
        if seen > MAX_ITEMS:
            raise ValueError(f"holds more than {MAX_ITEMS} values")
        if isinstance(value, Mapping):
            waiting += [(f"{path}/{key}", item) for key, item in value.items()]
        elif isinstance(value, (list, tuple)):
            waiting += [(f"{path}/{index}", item) for index, item in enumerate(value)]
        else:
            yield path, value


def named_tensors(content: Any) -> Iterator[tuple[str, Tensor]]:
    """The tensors among `named_leaves`."""
    return ((path, value) for path, value in named_leaves(content) if isinstance(value, Tensor))


def read_archive(path: str | Path) -> Any:
    """Tensors and plain data of a torch or safetensors file, on the CPU; one of our snapshots is checked.

    Raises:
        CheckpointError: The file is missing, a folder, unreadable, damaged, or holds more than plain data.
    """
    path = Path(path)
    if not path.exists():
        raise CheckpointError(f"{path}: no such file; check --snapshot")
    if path.is_dir():
        raise CheckpointError(f"{path}: is a folder, not a snapshot; name a file in it with --snapshot")
    safetensors = path.suffix == ".safetensors"
    try:
        protected = not safetensors and _check_archive(path)
        content = _read_safetensors(path) if safetensors else _read_torch(path)
        _check_sizes(content)
        if is_snapshot(content):
            _check_digests(content)
            if "plain_sha256" in content and not (safetensors or protected):
                raise ValueError("its end, with the SHA-256 of its bytes, is missing")
    except ValueError as error:
        raise CheckpointError(f"{path}: damaged: {error}; take another snapshot") from error
    return content


def _read_safetensors(path: Path) -> dict:
    """Bare tensors, or with the metadata that we write a snapshot."""
    try:
        with safe_open(path, "pt") as file:
            header = (file.metadata() or {}).get(METADATA_KEY)
        tensors = load_file(path)
        return tensors if header is None else {**json.loads(header), "model": tensors, "average": None}
    except (SafetensorError, OSError, ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error}); take another file") from error


def _read_torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about foreign pickles; they are refused in one line below
            with torch.serialization.safe_globals(NUMPY_SCALARS):
                return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds for damaged files, none of which is our mistake
        if "weights_only" in str(error) or "Weights only" in str(error):
            reason = "it is damaged, or holds more than tensors and plain data, which is never executed"
        else:
            reason = "it is damaged or not a snapshot"
        raise CheckpointError(f"{path}: cannot be loaded: {reason}; take another file") from error


def is_snapshot(content: Any) -> bool:
    """True for the content of one of our own snapshots."""
    return isinstance(content, dict) and isinstance(content.get("sha256"), dict) and "format" in content


def seal(content: dict) -> dict:
    """`content` with a SHA-256 for each of its tensors under `sha256`, and one of all the rest under `plain_sha256`."""
    digests = {name: tensor_sha256(tensor) for name, tensor in named_tensors(content)}
    return {**content, "sha256": digests, "plain_sha256": _plain_sha256(content)}


def _plain_sha256(content: dict) -> str:
    """SHA-256 (hex) over the places and values of everything that isn't a tensor."""
    plain = sorted(f"{path} {value!r}" for path, value in named_leaves(content) if not isinstance(value, Tensor))
    return hashlib.sha256("\n".join(plain).encode("utf-8", "surrogatepass")).hexdigest()


def _check_digests(content: dict) -> None:
    """Raises `ValueError` if a snapshot's content isn't what was sealed."""
    expected = content["sha256"]
    sealed = {key: value for key, value in content.items() if key not in ("sha256", "plain_sha256")}
    found = dict(named_tensors(sealed))
    if set(found) != set(expected):
        raise ValueError("its list of tensors doesn't fit its content")
    for name, tensor in found.items():
        if tensor_sha256(tensor) != expected[name]:
            raise ValueError(f"tensor {name} fails its SHA-256")
    if "plain_sha256" in content and _plain_sha256(sealed) != content["plain_sha256"]:
        raise ValueError("its plain data fails its SHA-256")


def _check_sizes(content: Any) -> None:
    """Raises `ValueError` for a tensor that claims more elements than are stored: copying it could fill the memory."""
    for name, tensor in named_tensors(content):
        if tensor.layout != torch.strided or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise ValueError(f"tensor {name} is larger than what is stored of it")


def write_archive(content: Any, file: BinaryIO) -> None:
    """`torch.save` with the SHA-256 of all its bytes as the archive's comment; `file` can be read and written."""
    torch.save(content, file)
    file.seek(-2, os.SEEK_END)  # the archive ends with the length of its comment, which is empty
    file.write(struct.pack("<H", len(COMMENT) + 64))
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(0, os.SEEK_END)
    file.write(COMMENT + digest.encode())


def _check_archive(path: Path) -> bool:
    """True for a zip archive that ends with the SHA-256 of its bytes.

    Raises:
        ValueError: Its bytes changed, or it would unpack to more than it is: torch never compresses.
    """
    try:
        if not zipfile.is_zipfile(path):
            return False
        with zipfile.ZipFile(path) as archive:
            unpacked, comment = sum(entry.file_size for entry in archive.infolist()), archive.comment
    except (zipfile.BadZipFile, NotImplementedError, OSError, struct.error) as error:
        raise ValueError(f"its archive can't be read ({error})") from error
    if unpacked > path.stat().st_size:
        raise ValueError("its parts are larger than the file")
    if not comment.startswith(COMMENT):
        return False
    digest, left = hashlib.sha256(), path.stat().st_size - len(comment)
    with open(path, "rb") as file:
        while left and (block := file.read(min(left, 1 << 20))):
            digest.update(block)
            left -= len(block)
    if COMMENT + digest.hexdigest().encode() != comment:
        raise ValueError("its bytes fail their SHA-256")
    return True


def find_weights(content: Any, path: str | Path) -> dict[str, Tensor]:
    """The state dict in a file's content: a snapshot's (averaged weights first), bare, or under `state_dict`.

    Raises:
        CheckpointError: There is none.
    """
    if is_snapshot(content):
        content = content.get("average") or content.get("model")
    elif isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointError(f"{path}: holds no state dict, which is tensors by name; take another file")
    return {str(key).removeprefix("module."): value for key, value in content.items()}


@dataclass
class LoadReport:
    """Names of tensors by what became of them."""

    source: str
    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)  # the model's, not in the file: they stay as they were
    mismatched: list[str] = field(default_factory=list)  # of another shape: they stay as they were
    unexpected: list[str] = field(default_factory=list)  # the file's, not in the model
    unused: list[str] = field(default_factory=list)  # heads for training in the file, which the model doesn't build

    @property
    def complete(self) -> bool:
        """True if every tensor of the model was loaded and nothing was left over."""
        return not (self.missing or self.unexpected or self.mismatched)

    def __str__(self) -> str:
        total = len(self.loaded) + len(self.missing) + len(self.mismatched)
        text = f"{self.source}: {len(self.loaded)} of {total} tensors loaded"
        for kind in ("missing", "mismatched", "unexpected", "unused"):
            names = getattr(self, kind)
            if names:
                text += f"; {len(names)} {kind} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        return text


def fit_weights(module: nn.Module, weights: Mapping[str, Tensor], source: str, partial: bool) -> LoadReport:
    """Copy `weights` into `module`, whose keys they have.

    Args:
        module: Gets the weights, in place.
        weights: Tensors by the module's names.
        source: Where they come from, for messages.
        partial: Load what fits; otherwise anything missing, left over or misshapen is refused.

    Raises:
        CheckpointError: The weights don't fit; then `module` is unchanged.
    """
    own = module.state_dict()
    report = LoadReport(source)
    for name, tensor in own.items():
        fits = name in weights and weights[name].shape == tensor.shape
        (report.loaded if fits else report.mismatched if name in weights else report.missing).append(name)
    for name in weights:
        if name not in own:
            (report.unused if name.startswith(TRAINING_HEADS) else report.unexpected).append(name)
    if not partial and not report.complete:
        raise CheckpointError(f"{report}; they are of another architecture: name the right --arch, or --partial")
    if not report.loaded:
        raise CheckpointError(f"{report}; nothing in this file fits the model")
    module.load_state_dict({**own, **{name: weights[name] for name in report.loaded}})
    return report
